"""The calibration record: what a site measured or declared about its network, signed, and bound to what was measured.

A record is canonical JSON in the envelope of a receipt (`infra/receipts.py`), signed with the site's key. It lies in
`DATA_DIR/calibration/` under the SHA-256 of its bytes and is never changed: a later one lies beside it, and the audit
log says which one is in force. So an older record that is put back, a deleted one and an edited one are all noticed.
Numbers that are no integers are text, as canonical JSON holds no floats. No image, name, subject or score is in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from biometrics.card import OperatingPoint
from biometrics.errors import CalibrationUnusable, LogInconsistent
from biometrics.records import EventKind
from infra.audit.canonical import JSON, canonical
from infra.audit.checkpoint import key_id
from infra.audit.log import SqlAuditLog
from infra.keys.replace import replace_file
from infra.mtcnn_cache import cache_key, weight_files
from infra.receipts import sign_receipt, verify_receipt

FORMAT: Literal["dwarpal-calibration/v1"] = "dwarpal-calibration/v1"
KIND = "calibration"
FOLDER = "calibration"
PIPELINE = "pipeline/1"
"""Version of detection, alignment and embedding; raised whenever a change of ours changes scores."""

DEPENDENCE = (
    "Comparisons share people and so are not independent, as the rules of 3 and 30 and the exact intervals take them "
    "to be; the intervals by_subject resample people."
)
_ENVELOPE = ("type", "kind", "site", "key_id", "signature")
_MOST_BYTES = 1 << 20

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[str, Field(pattern=r"^-?[0-9]{1,20}(\.[0-9]{1,30})?(e-?[0-9]{1,3})?$")]
Count = Annotated[int, Field(ge=0)]
Support = Literal["supported", "fewer_than_30_errors", "card"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RecordPoint(_Part):
    """A false-match rate, its threshold, and how it was found; the counts and intervals are None where a card says so.

    Intervals are two-sided at 90 %: the upper end is a bound at 95 %.
    """

    rate: Number
    threshold: Number
    support: Support
    basis: Literal["measured_rate", "upper_confidence_bound", "card"]
    false_matches: Count | None = None
    false_non_matches: Count | None = None
    exact: list[Number] | None = Field(None, min_length=2, max_length=2)
    by_subject: list[Number] | None = Field(None, min_length=2, max_length=2)


class Declared(_Part):
    """The false-match rate (1:1), and the false-positive identification rate with the gallery's size (1:N)."""

    fmr: Number
    fpir: Number | None = None
    gallery_size: Annotated[int, Field(ge=1)] | None = None
    support: Support


class Sample(_Part):
    """What the points were measured on; `pairs_sha256` is that of the CSV file."""

    comparisons: Literal["pairs", "cross"]
    pairs_sha256: Digest
    face: str
    images: Count
    failed_images: Count
    mated: Count
    non_mated: Count
    resampled: Literal["subjects", "images"]
    subjects: Count
    subject_pairs: Count
    confidence: Number
    dependence: str | None


class CalibrationRecord(_Part):
    """A record without its envelope. It has a name and operating points, as a model card has."""

    format: Literal["dwarpal-calibration/v1"] = FORMAT
    created_at: str
    software: str
    model: str
    model_sha256: Digest
    flip: bool
    pipeline: str
    detector_sha256: Digest
    execution_providers: dict[str, str] | None
    source: Literal["card", "pairs"]
    declared: Declared
    points: list[RecordPoint] = Field(min_length=1)
    sample: Sample | None

    @property
    def name(self) -> str:
        """The network's name."""
        return self.model

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """The points as thresholds are taken from them."""
        return tuple(OperatingPoint(rate=float(p.rate), threshold=float(p.threshold)) for p in self.points)

    @property
    def time(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.created_at)


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record whose signature holds, and the SHA-256 of its file, which is the file's name and stands in the log."""

    record: CalibrationRecord
    sha256: str


def detector_digest() -> str:
    """Return the digest of the detector's weights; raise `ModelUnusable` if they are absent."""
    return cache_key(weight_files())


def sign_record(record: CalibrationRecord, key: Ed25519PrivateKey, site: str) -> bytes:
    """Return the bytes of a record's file."""
    body: dict[str, JSON] = record.model_dump(mode="json")
    return canonical(sign_receipt(KIND, body, key, site))


def verify_record(content: bytes, public_keys: Sequence[Ed25519PublicKey], site: str) -> SignedRecord:
    """Read a record; raise `CalibrationUnusable` unless one of these keys signed exactly these bytes for this site."""
    try:
        receipt = json.loads(content)
        if not isinstance(receipt, dict) or canonical(receipt) != content:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise CalibrationUnusable(
            "The calibration record is damaged: it is not canonical JSON.", code="calibration_malformed"
        ) from None
    _check_signature(receipt, public_keys, site)
    try:
        record = CalibrationRecord.model_validate({k: v for k, v in receipt.items() if k not in _ENVELOPE})
        record.operating_points, record.time  # noqa: B018 - they read the numbers and the time
    except ValueError:  # pydantic's error is one
        raise CalibrationUnusable(
            "The calibration record is genuine, but in no form that this version reads.", code="calibration_malformed"
        ) from None
    return SignedRecord(record, hashlib.sha256(content).hexdigest())


def _check_signature(receipt: Mapping[str, JSON], public_keys: Sequence[Ed25519PublicKey], site: str) -> None:
    named = [key for key in public_keys if key_id(site, key).hex() == receipt.get("key_id")]
    try:
        verify_receipt(receipt, *(named or public_keys)[:1])
    except LogInconsistent as error:
        if error.code == "receipt_of_another_key":
            raise CalibrationUnusable(
                "The calibration record was signed by another key than this site's.", code="calibration_of_another_key"
            ) from None
        raise CalibrationUnusable(
            "The calibration record was changed after it was signed.", code="calibration_signature"
        ) from None
    if receipt.get("site") != site or receipt.get("kind") != KIND:
        raise CalibrationUnusable(
            "The calibration record belongs to another site, or is none.", code="calibration_of_another_key"
        )


def store_record(data_dir: Path, content: bytes) -> Path:
    """Write a record's file durably, mode 0600, complete or not at all, and return it; others stay beside it.

    It is not in force before the log says so.
    """
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = record_path(data_dir, hashlib.sha256(content).hexdigest())
    replace_file(path, content)
    return path


def log_reason(sha256: str) -> str:
    """Return how the log names a record."""
    return f"sha256:{sha256}"


def logged_record(log: SqlAuditLog) -> str | None:
    """Return the SHA-256 of the record that the log says is in force, or None if the site never calibrated."""
    found = log.entries(log.size(), 1, event=EventKind.CALIBRATED, newest_first=True)
    if not found:
        return None
    named = re.fullmatch("sha256:([0-9a-f]{64})", str(found[0].fields().get("reason")))
    if named is None:
        raise CalibrationUnusable("The audit log names no calibration record.", code="calibration_not_logged")
    return named[1]


def read_record(
    data_dir: Path, logged: str | None, public_keys: Sequence[Ed25519PublicKey], site: str
) -> SignedRecord | None:
    """Return the record in force, or None if the site never calibrated; a former signing key's signature counts too.

    The log names the very bytes that are in force, so that a stolen former key brings no other record in.

    Raises `CalibrationUnusable` if it is missing or not genuine, or if records lie there of which the log knows none.
    """
    if logged is None:
        if any((data_dir / FOLDER).glob("*.json")):
            raise CalibrationUnusable(
                "A calibration record lies in the data folder, but the audit log knows of none: "
                "run `dwarpal calibrate` again.",
                code="calibration_not_logged",
            )
        return None
    try:
        with record_path(data_dir, logged).open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        raise CalibrationUnusable(
            f"The calibration record in force, {logged[:16]}, is missing or cannot be read: bring it back, or run "
            "`dwarpal calibrate` again.",
            code="calibration_missing",
        ) from None
    signed = verify_record(content, public_keys, site)
    if signed.sha256 != logged:
        raise CalibrationUnusable(
            "The calibration record is not the one that the audit log says is in force.", code="calibration_not_logged"
        )
    return signed


def check_fits(record: CalibrationRecord, *, model_sha256: str, flip: bool) -> None:
    """Raise `CalibrationUnusable` if a record was made for another network, flip setting, detector or pipeline."""
    if record.model_sha256 != model_sha256:
        raise CalibrationUnusable(
            f"The calibration is for another network ({record.model}, {record.model_sha256[:16]}) than the one in use "
            f"({model_sha256[:16]}): run `dwarpal calibrate`.",
            code="calibration_of_another_model",
        )
    if record.flip is not flip:
        raise CalibrationUnusable(
            f"The calibration was made with DWARPAL_EMBEDDER_FLIP={str(record.flip).lower()}, which is now otherwise: "
            "set it back, or run `dwarpal calibrate`.",
            code="calibration_of_another_setting",
        )
    if (record.pipeline, record.detector_sha256) != (PIPELINE, detector_digest()):
        raise CalibrationUnusable(
            "The calibration was made with another face detector or version of the pipeline: run `dwarpal calibrate`.",
            code="calibration_of_another_pipeline",
        )


def record_path(data_dir: Path, sha256: str) -> Path:
    """Return where the record of this SHA-256 lies."""
    return data_dir / FOLDER / f"{sha256}.json"
