"""Measures everything that a report shows, from evaluation data named on a command line."""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from biometrics.errors import ModelUnusable
from evaluation.cross import CrossReport, cross_report
from evaluation.curves import log_rates, pair_curve, score_histogram
from evaluation.failures import Failures, failed_pairs
from evaluation.goals import DECLARED, Goal
from evaluation.protocol import FacePolicy, Pair, read_index, read_pairs, read_people, subjects
from evaluation.report import DataFile, NetworkFacts, Provenance, ReportFigures
from evaluation.verification import VerificationReport, report_on
from services.cli.evaluate_robustness import SMALLEST_FACE
from services.cli.measuring import embed_images, embed_strangers, image_loader, settings_to_measure
from services.cli.output import progress_bar

if TYPE_CHECKING:
    from biometrics.card import ModelCard
    from biometrics.embedding import ArcFaceEmbedder
    from evaluation.acquisition import Acquired
    from evaluation.groups import GroupReport
    from evaluation.identification import IdentificationReport
    from evaluation.robustness import RobustnessReport
    from infra.settings import Settings

RATE = 1e-3
"""The false-match rate at whose threshold failed pairs are listed and groups are compared."""

FROM_COMPARISONS, FROM_PAIRS = "all comparisons", "the pairs"
THUMBNAIL_PIXELS = 96
THUMBNAIL_QUALITY = 80
CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to measure, on what. `conditions` is None for no robustness, empty for all conditions."""

    pairs_csv: Path
    images: Path
    face: FacePolicy = FacePolicy.CENTER
    groups: Path | None = None
    group_images: Path | None = None
    aligned: bool = False
    conditions: tuple[str, ...] | None = None
    distractors: tuple[Path, ...] = ()
    gallery_sizes: tuple[int, ...] = ()
    embedder: str | None = None
    goals: tuple[Goal, ...] | None = None
    listed: int = 50


def measure(wanted: Measurement) -> ReportFigures:
    """Measure each part asked for; raises what reading and the networks raise."""
    from evaluation.degradations import chosen_conditions
    from infra.models import build_embedder

    pairs = read_pairs(wanted.pairs_csv)
    known = subjects(pairs)
    chosen_conditions(wanted.conditions or ())  # a wrong name is better told now than after an hour
    settings = settings_to_measure(wanted.embedder)
    network = build_embedder(settings, by_path=True)
    names = [name for pair in pairs for name in (pair.image_a, pair.image_b)]
    acquired = embed_images(
        names, wanted.images, settings, network, aligned=False, face=wanted.face, what="photographs of the pairs"
    )
    verification = report_on(pairs, acquired)
    cross, finer = _comparisons(acquired, known)
    return ReportFigures(
        provenance=_provenance(wanted, settings, network),
        goals=DECLARED if wanted.goals is None else wanted.goals,
        verification=verification,
        curve=pair_curve(pairs, acquired),
        scores=score_histogram(pairs, acquired),
        failures=_failures(pairs, acquired, verification, cross, wanted.listed),
        cross=cross,
        cross_curve=() if finer is None else finer.points,
        groups=_groups(wanted, settings, network, cross),
        robustness=_robustness(wanted, pairs, network),
        identification=_identification(wanted, settings, network, acquired),
    )


def thumbnails(figures: ReportFigures, wanted: Measurement) -> dict[str, str]:
    """Return small photographs of the listed failed pairs as data URIs by name; they exist in memory only."""
    from PIL import Image

    from evaluation.acquisition import UNREADABLE
    from evaluation.images import open_images

    found = figures.failures
    listed = () if found is None else (*found.false_rejects, *found.false_accepts)
    pictures: dict[str, str] = {}
    with open_images(wanted.images) as source:
        load = image_loader(source, settings_to_measure(wanted.embedder))
        for name in dict.fromkeys(name for pair in listed for name in (pair.image_a, pair.image_b)):
            try:
                small = Image.fromarray(load(name))
            except UNREADABLE:
                continue
            small.thumbnail((2 * THUMBNAIL_PIXELS, 2 * THUMBNAIL_PIXELS))
            stream = io.BytesIO()
            small.save(stream, "JPEG", quality=THUMBNAIL_QUALITY)  # from pixels: no comment, no place, no camera
            pictures[name] = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return pictures


def _comparisons(acquired: Acquired, known: dict[str, str]) -> tuple[CrossReport | None, CrossReport | None]:
    """Return the operating points of all comparisons, and finer ones for a curve; None without two known people."""
    if len({known[name] for name in acquired.rows if name in known}) < 2:
        return None, None
    coarse = cross_report(acquired, known)
    return coarse, cross_report(acquired, known, log_rates(1e-2, coarse.n_non_mated))


def _failures(
    pairs: list[Pair], acquired: Acquired, report: VerificationReport, cross: CrossReport | None, limit: int
) -> Failures | None:
    """List the failed pairs at the threshold of all comparisons, or of the pairs where nobody's name is known."""
    threshold, basis = _common_threshold(cross), FROM_COMPARISONS
    if threshold is None:
        threshold, basis = report.threshold.get(str(RATE)), FROM_PAIRS
    if threshold is None:
        return None
    return failed_pairs(pairs, acquired, rate=RATE, threshold=threshold, basis=basis, limit=limit)


def _common_threshold(cross: CrossReport | None) -> float | None:
    return None if cross is None else next((point.threshold for point in cross.points if point.rate == RATE), None)


def _groups(
    wanted: Measurement, settings: Settings, network: ArcFaceEmbedder, cross: CrossReport | None
) -> GroupReport | None:
    from evaluation.groups import group_report

    if wanted.groups is None or wanted.group_images is None:
        return None
    index = read_index(wanted.groups, required=("group",))
    acquired = embed_images(
        [entry.path for entry in index],
        wanted.group_images,
        settings,
        network,
        aligned=wanted.aligned,
        face=wanted.face,
        what="faces of the groups",
    )
    named = {"the model card": _card_threshold(network.card), "all comparisons of the pairs": _common_threshold(cross)}
    # Two thresholds that are shown with the same digits would fill two tables with the same figures.
    distinct = {round(value, 4): name for name, value in reversed(named.items()) if value is not None}
    thresholds = {name: value for name, value in named.items() if value is not None and name in distinct.values()}
    return group_report(index, acquired, rate=RATE, thresholds=thresholds)


def _card_threshold(card: ModelCard) -> float | None:
    from biometrics.comparison import threshold_at

    try:
        return threshold_at(card, RATE)
    except ModelUnusable:
        return None


def _robustness(wanted: Measurement, pairs: list[Pair], network: ArcFaceEmbedder) -> RobustnessReport | None:
    from evaluation.degradations import chosen_conditions
    from evaluation.images import open_images
    from evaluation.robustness import measure_robustness
    from infra.models import build_detector

    if wanted.conditions is None:
        return None
    settings = settings_to_measure(wanted.embedder, farthest_face_pixels=SMALLEST_FACE)
    with open_images(wanted.images) as source, progress_bar("photographs under all conditions") as progress:
        return measure_robustness(
            pairs,
            image_loader(source, settings),
            chosen_conditions(wanted.conditions),
            detector=build_detector(settings),
            embedder=network,
            face=wanted.face,
            progress=progress,
        )


def _identification(
    wanted: Measurement, settings: Settings, network: ArcFaceEmbedder, acquired: Acquired
) -> IdentificationReport | None:
    """Search the photographs of the pairs in galleries of them and of strangers."""
    from evaluation.identification import SIZES, identification_report, labelled
    from verification.policy import MatchPolicy

    if not wanted.distractors and not wanted.gallery_sizes:
        return None
    index = read_people(wanted.pairs_csv)
    policy = MatchPolicy(network.card, settings.fmr, settings.walk_through_fpir, settings.cosine_threshold)
    return identification_report(
        labelled(index, acquired),
        [embed_strangers(path, settings, network) for path in wanted.distractors],
        sizes=wanted.gallery_sizes or SIZES,
        threshold_for=policy.walk_through,
        failed=[entry.subject or f"//{entry.path}" for entry in index if entry.path not in acquired.rows],
    )


def _provenance(wanted: Measurement, settings: Settings, network: ArcFaceEmbedder) -> Provenance:
    card = network.card
    read = [("pairs", wanted.pairs_csv), ("photographs of the pairs", wanted.images)]
    read += [] if wanted.groups is None else [("groups", wanted.groups)]
    read += [] if wanted.group_images is None else [("faces of the groups", wanted.group_images)]
    read += [("distractors", path) for path in wanted.distractors]
    return Provenance(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("dwarpal"),
        command=shlex.join(["dwarpal", *sys.argv[1:]]),
        network=NetworkFacts(
            name=card.name,
            sha256=card.sha256,
            architecture=card.architecture,
            parameters=card.parameters,
            licence=card.licence,
            limits=card.limits,
            operating_points=card.operating_points,
        ),
        provider=network.provider_name,
        flip=settings.embedder_flip,
        face=wanted.face.value,
        smallest_face=settings.farthest_face_pixels,
        smallest_face_under_conditions=SMALLEST_FACE,
        data=tuple(DataFile(part, path.name, _digest(path)) for part, path in read),
    )


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None of a folder."""
    if path.is_dir():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
