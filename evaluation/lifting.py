"""Which photographs are lifted to heads for the active challenge: those with which a gate would begin it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from biometrics.capture import Sample, acquire
from biometrics.comparison import cosine
from biometrics.errors import UnusableFace
from biometrics.ports import FaceDetector, FaceEmbedder
from biometrics.quality import QualityPolicy, head_pose
from biometrics.types import Pixels, QualityCode, Template
from evaluation.acquisition import UNREADABLE, LoadImage, Progress, silent
from evaluation.head_motion import Head, Pose

LIFTED_YAW: Final = 10.0
"""Degrees: a photograph that was taken from farther aside is none of somebody who faces the camera as they are told."""

OTHER_PERSON: Final = 0.3
"""Cosine below which two heads are two people; nearer ones would make a swap of faces that is none."""


def lift_all(
    names: Sequence[str],
    load: LoadImage,
    detector: FaceDetector,
    embedder: FaceEmbedder,
    *,
    most: int,
    progress: Progress = silent,
) -> tuple[list[Head], Counter[str]]:
    """Lift the first `most` photographs of different people that look at the camera; count why others were left out."""
    heads: list[Head] = []
    known: list[Template] = []
    left_out: Counter[str] = Counter()
    for name in names:
        if len(heads) == most:
            break
        try:
            photograph = load(name)
            sample = _from_the_front(photograph, detector)
            template = embedder.embed(sample.aligned)
            if any(cosine(template, other) >= OTHER_PERSON for other in known):
                left_out["same_person"] += 1
                continue
            head = Head.lifted(photograph, sample.face.landmarks)
            rendered = head.turned(Pose())
            if len(detector.detect(rendered)) > 1:
                left_out["others_in_sight"] += 1
                continue
            _from_the_front(rendered, detector)
        except UNREADABLE:
            left_out["unreadable"] += 1
        except UnusableFace as error:
            left_out[error.code] += 1
        else:
            known.append(template)
            heads.append(head)
            progress(len(heads), most)
    return heads, left_out


def _from_the_front(picture: Pixels, detector: FaceDetector) -> Sample:
    """Return the only face of a picture if nothing is wrong with it; raise `UnusableFace` otherwise."""
    sample = acquire(picture, detector, QualityPolicy())
    problems = list(sample.quality.problems)
    if abs(head_pose(sample.face.landmarks)[0]) > LIFTED_YAW:
        problems.append(QualityCode.EXTREME_POSE)
    if problems:
        raise UnusableFace("The photograph shows no face from the front.", code=problems[0])
    return sample
