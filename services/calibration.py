"""The calibration in force at a site: the thresholds' source, verified, and whether it fits what would be served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from biometrics.card import ModelCard
from biometrics.comparison import Measured
from biometrics.errors import CalibrationUnusable, ModelUnusable
from infra.calibration import CalibrationRecord, SignedRecord, check_fits, logged_record, read_record
from infra.keys.store import public_signing_keys
from infra.models import weights_folder
from infra.settings import Settings

if TYPE_CHECKING:
    from services.bootstrap import Storage


class Source(StrEnum):
    """Where the thresholds come from."""

    CARD = "card"
    SITE = "site"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What gives cosines their meaning here: the measured points, the rates in force, and the record, if there is one.

    `support` is `supported`, `fewer_than_30_errors`, or `card` where the card answers for it; `execution_provider` is
    what ran the embedder when it was measured. Both are None where nobody measured here.
    """

    source: Source
    measured: Measured
    model_digest: str
    fmr: float
    fpir: float
    gallery_size: int | None = None
    support: str | None = None
    created_at: datetime | None = None
    execution_provider: str | None = None
    sha256: str | None = None


def calibration_in_force(storage: Storage, card: ModelCard) -> Calibration:
    """Return the calibration under which this network may serve.

    That is the site's record; without one the card of a network that this package ships. Raises
    `CalibrationUnusable` if the record is not genuine or does not fit, or if there is neither. An explicit cosine
    (`DWARPAL_COSINE_THRESHOLD`) stands above both, but makes no record valid.
    """
    settings = storage.settings
    signed = record_in_force(storage)
    if signed is not None:
        check_fits(signed.record, model_sha256=card.sha256, flip=settings.embedder_flip)
        _check_settings(signed.record, settings)
    if settings.cosine_threshold is not None:
        measured = card if signed is None else signed.record
        return Calibration(Source.OVERRIDE, measured, card.sha256, settings.fmr, settings.walk_through_fpir)
    return by_card(card, settings) if signed is None else _from_record(signed, settings)


def record_in_force(storage: Storage) -> SignedRecord | None:
    """Return the record that the log says is in force, verified; None if the site never calibrated."""
    with storage.reading() as unit:
        logged = logged_record(unit.log)
    settings = storage.settings
    return read_record(settings.data_dir, logged, public_signing_keys(storage.keys), settings.site)


def by_card(card: ModelCard, settings: Settings) -> Calibration:
    """Return the calibration of a shipped network by its card; raise `CalibrationUnusable` for any other network."""
    if not card.operating_points or not _is_shipped(card):
        raise CalibrationUnusable(
            f"The network {card.name} is not calibrated, and no gate may use it before it is: run `dwarpal calibrate`."
        )
    check_flip(card, flip=settings.embedder_flip)
    rates = settings.fmr, settings.walk_through_fpir
    return Calibration(Source.CARD, card, card.sha256, *rates, support=Source.CARD.value)


def check_flip(card: ModelCard, *, flip: bool) -> None:
    """Raise `CalibrationUnusable` if the card's points were measured with the other flip setting."""
    if card.flip is not flip:
        raise CalibrationUnusable(
            f"The card of {card.name} was measured with DWARPAL_EMBEDDER_FLIP={str(card.flip).lower()}: set it so, or "
            "run `dwarpal calibrate` on pairs of your own.",
            code="calibration_of_another_setting",
        )


def contradictions(record: CalibrationRecord, settings: Settings) -> list[str]:
    """Return the settings, by variable, that were set to another rate than the record declares."""
    declared = {"fmr": record.declared.fmr, "walk_through_fpir": record.declared.fpir}
    return [
        f"DWARPAL_{name.upper()}"
        for name, value in declared.items()
        if value is not None and name in settings.model_fields_set and getattr(settings, name) != float(value)
    ]


def _check_settings(record: CalibrationRecord, settings: Settings) -> None:
    if wrong := contradictions(record, settings):
        raise CalibrationUnusable(
            f"The calibration declares another rate than {' and '.join(wrong)}: unset it, or run `dwarpal calibrate`.",
            code="calibration_of_another_setting",
        )


def _from_record(signed: SignedRecord, settings: Settings) -> Calibration:
    record, declared = signed.record, signed.record.declared
    return Calibration(
        Source.CARD if record.source == "card" else Source.SITE,
        record,
        record.model_sha256,
        float(declared.fmr),
        settings.walk_through_fpir if declared.fpir is None else float(declared.fpir),
        declared.gallery_size,
        declared.support,
        record.time,
        (record.execution_providers or {}).get("embedder"),
        signed.sha256,
    )


def _is_shipped(card: ModelCard) -> bool:
    """Say whether exactly this card lies in the package: points in anybody else's card are not ours to answer for."""
    try:
        return ModelCard.load(weights_folder("embedder") / f"{card.name}.json") == card
    except ModelUnusable:
        return False
