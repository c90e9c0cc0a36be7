"""From the frames of one presentation to one sample and a verdict: is this a living person before a camera?

One frame is judged by PAD alone, at its stricter operating point. A burst of 3 to 8 frames must also come from one
camera (`consistency`) and move as a body does (`motion`); its PAD scores are judged together. A burst through which the
face cannot be followed might show two faces: PAD then judges the probe's frame as if it had come alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from biometrics.capture import Sample, acquire
from biometrics.errors import MalformedInput, UnusableFace
from biometrics.ports import FaceDetector
from biometrics.quality import QualityPolicy
from biometrics.types import Pixels
from liveness.consistency import inconsistency
from liveness.cue import FEWEST_FRAMES, MOST_FRAMES, Cue
from liveness.motion import follow, motion_cue
from liveness.pad import PadDetector

FRONTAL_SLACK: Final = 10.0
"""Degrees within which two poses count as equally frontal: landmarks say no more."""

Lap = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Presentation:
    """The sample that stands for the presentation, and what betrays an attack, if anything does."""

    sample: Sample
    cue: Cue | None


@dataclass(frozen=True, slots=True)
class _Shot:
    frame: Pixels
    sample: Sample


def check_frame_count(count: int) -> None:
    """Raise `MalformedInput` unless there is one frame, or as many as a burst has."""
    if count != 1 and not FEWEST_FRAMES <= count <= MOST_FRAMES:
        raise MalformedInput("Send one frame, or a burst of 3 to 8.", code="frame_count")


def look_at(
    frames: Sequence[Pixels], detector: FaceDetector, quality: QualityPolicy, pad: PadDetector | None, lap: Lap
) -> Presentation:
    """Find the face of a presentation and judge whether it lives; without `pad` only consistency and motion are judged.

    `lap` is told when a stage is over. Raises `UnusableFace` if there is no usable face, of a burst if fewer than three
    frames have exactly one.
    """
    shots = _usable(frames, detector, quality)
    lap("detect")
    if len(frames) == 1:
        [shot] = shots
        cue = None if pad is None or pad.assess(shot.frame, shot.sample.face) else Cue.PAD
        lap("pad")
        return Presentation(shot.sample, cue)
    motions = follow([shot.frame for shot in shots], shots[0].sample.face) if _one_size(frames) else []
    cue = inconsistency(frames) or motion_cue(motions)
    lap("motion")
    if cue is not None or pad is None:
        return Presentation(_best(shots).sample, cue)
    verdict = pad.assess_burst([shot.frame for shot in shots], [shot.sample.face for shot in shots])
    passed = [shot for shot, frame in zip(shots, verdict.frames, strict=True) if frame]
    best = _best(passed or shots)
    alive = bool(passed) and verdict.bona_fide
    if alive and len(motions) < len(shots) - 1:
        alive = pad.assess(best.frame, best.sample.face).bona_fide
    lap("pad")
    return Presentation(best.sample, None if alive else Cue.PAD)


def _usable(frames: Sequence[Pixels], detector: FaceDetector, quality: QualityPolicy) -> list[_Shot]:
    shots: list[_Shot] = []
    problems: list[str] = []
    for frame in frames:
        try:
            sample = acquire(frame, detector, quality)
        except UnusableFace as error:
            problems.append(error.code)
            continue
        if sample.quality:
            shots.append(_Shot(frame, sample))
        else:
            problems.append(sample.quality.problems[0])
    if len(shots) < min(len(frames), FEWEST_FRAMES):
        raise UnusableFace("The face cannot be used: capture again.", code=problems[0])
    return shots


def _best(shots: Sequence[_Shot]) -> _Shot:
    """Return the sharpest of the most frontal: the frame that alone becomes the probe."""

    def turned(shot: _Shot) -> float:
        return max(abs(shot.sample.quality.yaw), abs(shot.sample.quality.pitch))

    limit = min(map(turned, shots)) + FRONTAL_SLACK
    return max((shot for shot in shots if turned(shot) <= limit), key=lambda shot: shot.sample.quality.sharpness)


def _one_size(frames: Sequence[Pixels]) -> bool:
    return len({frame.shape for frame in frames}) == 1
