"""`dwarpal calibrate`: sets the operating point for declared error rates, and signs what was measured for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, Pair, read_pairs
from services.cli.options import AsJson, DataDir, settings_for, storage_for
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import fields, print_json, print_table, progress_bar, remark, say, waiting

if TYPE_CHECKING:
    from biometrics.ports import FaceDetector
    from evaluation.acquisition import Acquired, BatchEmbedder
    from evaluation.calibration import Claim
    from evaluation.comparisons import Comparisons
    from infra.calibration import CalibrationRecord, RecordPoint, SignedRecord
    from infra.settings import Settings
    from services.bootstrap import Storage

Pairs = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PAIRS.csv]", help="Your own pairs: image_a,image_b,same and optionally subject_a,subject_b."
    ),
]
Images = Annotated[Path | None, typer.Option("--images", help="Folder or zip file in which the CSV's paths lie.")]
FromCard = Annotated[bool, typer.Option("--from-card", help="Take what the network's card measured.")]
Show = Annotated[bool, typer.Option("--show", help="Verify and print the record in force; changes nothing.")]
Fmr = Annotated[float | None, typer.Option(help="False-match rate of a claimed (1:1) check; else DWARPAL_FMR.")]
Fpir = Annotated[float | None, typer.Option(help="False-positive identification rate of a walk-through (1:N) search.")]
Size = Annotated[int | None, typer.Option("--gallery-size", min=1, help="The largest gallery that --fpir is for.")]
Cross = Annotated[bool, typer.Option("--cross", help="Compare every photograph with every other one.")]
Face = Annotated[FacePolicy, typer.Option(help="Which face is the subject's; `only` is the gate's own rule.")]
Flip = Annotated[bool | None, typer.Option("--flip/--no-flip", help="As configured (DWARPAL_EMBEDDER_FLIP).")]


def calibrate(
    context: typer.Context,
    pairs_csv: Pairs = None,
    images: Images = None,
    from_card: FromCard = False,
    show: Show = False,
    fmr: Fmr = None,
    fpir: Fpir = None,
    gallery_size: Size = None,
    cross: Cross = False,
    face: Face = FacePolicy.ONLY,
    flip: Flip = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set the thresholds for declared error rates from your own labelled pairs or the network's card, and sign that."""
    if [pairs_csv is not None, from_card, show].count(True) != 1:
        raise CommandFailed("Name a file of pairs, or say --from-card or --show: one of the three.")
    if (pairs_csv is None) != (images is None):
        raise CommandFailed("Pairs need --images, and only they do.")
    settings = settings_for(context, data_dir)
    if show:
        _show(storage_for(context, data_dir), as_json=as_json)
        return
    claim = _claim(settings, fmr, fpir, gallery_size)
    measured_with = settings.model_copy(update={} if flip is None else {"embedder_flip": flip})

    from services.calibrate import put_in_force

    if pairs_csv is None or images is None:
        storage = storage_for(context, data_dir)
        record = _from_card(storage, claim, measured_with)
    else:
        sample = _Photographs.listed(pairs_csv, images, face, cross=cross)
        claim.require_sample(sample.pairs_of_people())  # before minutes of work, and before anything is written
        storage = storage_for(context, data_dir)
        record = _from_sample(storage, claim, sample, measured_with)
    _print(*put_in_force(storage, record), as_json=as_json)
    _remark(record, settings)


def _show(storage: Storage, *, as_json: bool) -> None:
    from infra.calibration import record_path
    from services.calibration import record_in_force

    signed = record_in_force(storage)
    if signed is None:
        raise CommandFailed("This site has not calibrated: the network's card sets the thresholds.", ExitCode.NEGATIVE)
    _print(signed, record_path(storage.settings.data_dir, signed.sha256), as_json=as_json)
    _remark(signed.record, storage.settings)


def _claim(settings: Settings, fmr: float | None, fpir: float | None, gallery_size: int | None) -> Claim:
    from evaluation.calibration import Claim

    if (fpir is None) != (gallery_size is None):
        raise CommandFailed("--fpir and --gallery-size belong together.")
    if any(rate is not None and not 0 < rate < 1 for rate in (fmr, fpir)):
        raise CommandFailed("An error rate lies between 0 and 1.")
    return Claim(settings.fmr if fmr is None else fmr, fpir, gallery_size)


def _from_card(storage: Storage, claim: Claim, settings: Settings) -> CalibrationRecord:
    from infra.models import find_card, site_folder
    from services.calibrate import record_from_card

    card, _ = find_card("embedder", settings.embedder, site_folder(settings))
    return record_from_card(card, claim, flip=settings.embedder_flip, now=storage.now())


@dataclass(frozen=True, slots=True)
class _Photographs:
    """A site's labelled pairs, the SHA-256 of their file, and how to look at the photographs."""

    pairs: list[Pair]
    sha256: str
    images: Path
    face: FacePolicy
    cross: bool

    @classmethod
    def listed(cls, pairs_csv: Path, images: Path, face: FacePolicy, *, cross: bool) -> _Photographs:
        return cls(read_pairs(pairs_csv), hashlib.sha256(pairs_csv.read_bytes()).hexdigest(), images, face, cross)

    def pairs_of_people(self) -> int:
        from evaluation.comparisons import pairs_of_people

        return pairs_of_people(self.pairs, cross=self.cross)

    def acquire(self, detector: FaceDetector, embedder: BatchEmbedder, settings: Settings) -> Acquired:
        """Run every photograph through the pipeline, under the same limits as the service."""
        from biometrics.decoding import decode_image
        from evaluation.acquisition import acquire_all
        from evaluation.images import open_images

        most, pixels = settings.max_image_bytes, settings.max_image_pixels
        with open_images(self.images) as source, progress_bar("photographs") as progress:
            return acquire_all(
                (name for pair in self.pairs for name in (pair.image_a, pair.image_b)),
                lambda name: decode_image(source.read(name, most), max_bytes=most, max_pixels=pixels),
                detector=detector,
                embedder=embedder,
                face=self.face,
                progress=progress,
            )

    def compare(self, acquired: Acquired, claim: Claim) -> Comparisons:
        from evaluation.calibration import rates_for, scores_needed
        from evaluation.comparisons import compare_all, compare_pairs

        if self.cross:
            return compare_all(self.pairs, acquired, lambda n: scores_needed(rates_for(claim.rates(), n), n))
        return compare_pairs(self.pairs, acquired)


def _from_sample(storage: Storage, claim: Claim, sample: _Photographs, settings: Settings) -> CalibrationRecord:
    from infra.models import build_detector, build_embedder
    from services.calibrate import record_from_sample

    detector, embedder = build_detector(settings), build_embedder(settings)
    acquired = sample.acquire(detector, embedder, settings)
    if acquired.n_failed:
        remark(f"{acquired.n_failed} of {acquired.n_images} images gave no face and take no part.")
    with waiting("Comparing, and resampling people"):
        return record_from_sample(
            embedder.card,
            claim,
            sample.compare(acquired, claim),
            acquired,
            cross=sample.cross,
            face=sample.face.value,
            pairs_sha256=sample.sha256,
            flip=settings.embedder_flip,
            providers={"detector": detector.provider_name, "embedder": embedder.provider_name},
            now=storage.now(),
        )


def _print(signed: SignedRecord, path: Path, *, as_json: bool) -> None:
    record = signed.record
    if as_json:
        print_json({"sha256": signed.sha256, "file": path, "record": record.model_dump(mode="json")})
        return
    declared, sample = record.declared, record.sample
    search = None if declared.fpir is None else f"{declared.fpir} in galleries of up to {declared.gallery_size:,}"
    shown: dict[str, object] = {
        "record": signed.sha256,
        "file": str(path),
        "made": record.created_at,
        "network": f"{record.model}, sha256 {record.model_sha256[:16]}, flip {'on' if record.flip else 'off'}",
        "source": record.source,
        "declared FMR": declared.fmr,
        "declared FPIR": search,
        "support": declared.support.replace("_", " "),
    }
    if sample is not None:
        shown["sample"] = (
            f"{sample.non_mated:,} comparisons of different people, {sample.mated:,} of the same; "
            f"{sample.subjects:,} {sample.resampled}, {sample.subject_pairs:,} different pairs of them"
        )
        shown["note"] = sample.dependence
    fields(shown)
    say("")
    if sample is None:
        print_table(("FMR", "threshold"), [(point.rate, point.threshold) for point in record.points])
        return
    columns = ("FMR", "threshold", "set from", "false matches", "90 % exact", "90 % by subject", "false non-matches")
    print_table(columns, [_row(point) for point in record.points])


def _row(point: RecordPoint) -> tuple[object, ...]:
    return (
        f"{float(point.rate):.3g}",
        point.threshold,
        "upper bound" if point.basis == "upper_confidence_bound" else "measured",
        point.false_matches,
        _interval(point.exact),
        _interval(point.by_subject),
        point.false_non_matches,
    )


def _interval(ends: list[str] | None) -> str | None:
    return None if ends is None else " to ".join(f"{float(end):.2g}" for end in ends)


def _remark(record: CalibrationRecord, settings: Settings) -> None:
    """Say on standard error what stands between this record and serving with it."""
    from services.calibration import contradictions

    wrong = contradictions(record, settings)
    if record.flip is not settings.embedder_flip:
        wrong.append("DWARPAL_EMBEDDER_FLIP")
    if wrong:
        remark(f"{', '.join(wrong)} must agree with this record, else `dwarpal serve` refuses to start.")
    if settings.cosine_threshold is not None:
        remark("DWARPAL_COSINE_THRESHOLD overrides this record.")
    remark("A service that runs goes on as it was started: restart it.")
