"""What the gate makes of bursts: of consecutive frames in a labelled set, and of motion rendered from its faces.

Frames are consecutive when their names differ in the number behind the last `_` only. Bursts do not overlap.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biometrics.capture import only_face
from biometrics.errors import UnusableFace
from biometrics.ports import FaceDetector
from biometrics.quality import QualityPolicy
from biometrics.types import Pixels
from evaluation.acquisition import UNREADABLE, LoadImage, Progress, silent
from evaluation.camera import CameraSettings, photograph
from evaluation.intervals import Interval, clopper_pearson
from evaluation.moving import moved_head, moved_sheet, sway
from evaluation.protocol import BONA_FIDE, Presentation
from liveness.motion import follow, motion_cue
from liveness.pad import PadDetector
from liveness.presentation import look_at

_NUMBERED = re.compile(r"(?P<sequence>.+)_(?P<number>\d+)\.\w+")
RENDERED_POSES = 6
SEED = 18099


@dataclass(frozen=True, slots=True)
class Tally:
    """How many bursts of one kind there were, and what was suspected of them; `unusable` showed no usable face.

    `ci95` is the exact interval of the suspected among those judged; bursts of one video are not independent, so it is
    narrower than the truth.
    """

    n: int
    unusable: int
    suspected: int
    by_cue: dict[str, int]
    ci95: Interval


@dataclass(frozen=True, slots=True)
class BurstReport:
    """Suspicions by kind (bona fide or species): of first frames alone, of bursts, of motion rendered from faces."""

    size: int
    single: dict[str, Tally]
    burst: dict[str, Tally]
    rendered: dict[str, Tally]


def bursts_in(presentations: Sequence[Presentation], size: int) -> list[list[Presentation]]:
    """Cut the sequences among the presentations into bursts of so many frames; what is left over is left out."""
    sequences: dict[tuple[str, str], list[tuple[int, Presentation]]] = {}
    for presentation in presentations:
        if match := _NUMBERED.fullmatch(presentation.image):
            key = (_kind(presentation), match["sequence"])
            sequences.setdefault(key, []).append((int(match["number"]), presentation))
    found = []
    for sequence in sequences.values():
        frames = [presentation for _, presentation in sorted(sequence, key=lambda numbered: numbered[0])]
        found += [frames[i : i + size] for i in range(0, len(frames) - size + 1, size)]
    return found


def burst_report(
    presentations: Sequence[Presentation],
    load: LoadImage,
    *,
    detector: FaceDetector,
    pad: PadDetector,
    quality: QualityPolicy,
    size: int,
    poses: int = RENDERED_POSES,
    progress: Progress = silent,
) -> BurstReport:
    """Judge every burst as the gate does, then `poses` motions rendered from one bona fide frame of each subject."""
    bursts = bursts_in(presentations, size)
    single: dict[str, Counter[str]] = {}
    burst: dict[str, Counter[str]] = {}
    for number, frames in enumerate(bursts, 1):
        label = _kind(frames[0])
        try:
            images = [load(frame.image) for frame in frames]
        except UNREADABLE:
            images = []
        for counts, looked_at in ((single, images[:1]), (burst, images)):
            counts.setdefault(label, Counter())[_judged(looked_at, detector, quality, pad)] += 1
        progress(number, len(bursts))
    rendered = _rendered(presentations, load, detector, size, poses)
    single_tally, burst_tally, rendered_tally = (
        {label: _tally(count) for label, count in counts.items()} for counts in (single, burst, rendered)
    )
    return BurstReport(size, single_tally, burst_tally, rendered_tally)


def _kind(presentation: Presentation) -> str:
    return BONA_FIDE if presentation.bona_fide else presentation.species


def _judged(images: Sequence[Pixels], detector: FaceDetector, quality: QualityPolicy, pad: PadDetector) -> str:
    try:
        if images:
            return str(look_at(images, detector, quality, pad, lambda stage: None).cue or "passed")
    except UnusableFace:
        pass
    return "unusable"


def _rendered(
    presentations: Sequence[Presentation], load: LoadImage, detector: FaceDetector, size: int, poses: int
) -> dict[str, Counter[str]]:
    """Let a head and a sheet made of each subject's first bona fide frame do the same motions before a camera."""
    first = {p.subject: p for p in reversed(presentations) if p.subject and p.bona_fide}
    rng = np.random.default_rng(SEED)
    counts: dict[str, Counter[str]] = {"head": Counter(), "sheet": Counter()}
    for presentation in first.values():
        portrait = load(presentation.image)
        try:
            face = only_face(detector.detect(portrait))
        except UnusableFace:
            continue
        for _ in range(poses):
            yaw, pitch = rng.uniform(3, 25) * rng.choice([-1, 1]), rng.uniform(-6, 6)
            path = sway(size, yaw=yaw, pitch=pitch, right=rng.uniform(-0.3, 0.3), down=rng.uniform(-0.15, 0.15))
            camera = CameraSettings(shot_noise=rng.uniform(0.006, 0.015), jpeg_quality=int(rng.integers(80, 95)))
            for kind, move in (("head", moved_head), ("sheet", moved_sheet)):
                frames = [photograph(move(portrait, face.landmarks, pose), camera, rng) for pose in path]
                counts[kind][str(motion_cue(follow(frames, face)) or "passed")] += 1
    return counts


def _tally(counts: Counter[str]) -> Tally:
    unusable, n = counts["unusable"], counts.total()
    by_cue = {cue: count for cue, count in sorted(counts.items()) if cue not in ("passed", "unusable")}
    suspected = sum(by_cue.values())
    return Tally(n, unusable, suspected, by_cue, clopper_pearson(suspected, n - unusable))
