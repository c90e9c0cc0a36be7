"""From frames to a sample and a verdict: which frames count, which becomes the probe, which threshold holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from biometrics.capture import acquire
from biometrics.errors import MalformedInput, UnusableFace
from biometrics.quality import QualityPolicy
from biometrics.types import Face, Pixels
from evaluation.camera import CameraSettings, photograph
from evaluation.moving import moved_head, sway
from liveness.cue import Cue
from liveness.pad import BurstAssessment, PadAssessment, fused
from liveness.presentation import Presentation, check_frame_count, look_at
from tests.fakes import FakeFaceDetector
from tests.unit.liveness.test_motion import FACE, LANDMARKS

CAMERA = CameraSettings(shot_noise=0.008, jpeg_quality=90)
QUALITY = QualityPolicy(min_mouth_detail=0.0, min_eye_brightness=0.0)


class ScriptedPad:
    """A PAD whose scores are given; a burst's threshold is 0.3, a single frame's 0.6."""

    model_digest = "d" * 64

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.singles = 0

    def assess(self, image: Pixels, face: Face) -> PadAssessment:
        self.singles += 1
        return PadAssessment(self.scores[0] >= 0.6, self.scores[0])

    def assess_burst(self, images: Sequence[Pixels], faces: Sequence[Face]) -> BurstAssessment:
        assert len(images) == len(faces) == len(self.scores)
        return BurstAssessment(
            fused(self.scores) >= 0.3, tuple(PadAssessment(score >= 0.3, score) for score in self.scores)
        )


@pytest.fixture(scope="module")
def living(astronaut: Pixels) -> list[Pixels]:
    rng = np.random.default_rng(5)
    return [photograph(moved_head(astronaut, LANDMARKS, pose), CAMERA, rng) for pose in sway(4, yaw=8, right=0.2)]


def look(frames: Sequence[Pixels], pad: ScriptedPad | None, detector: FakeFaceDetector | None = None) -> Presentation:
    return look_at(frames, detector or FakeFaceDetector(FACE), QUALITY, pad, lambda stage: None)


@pytest.mark.parametrize("count", [0, 2, 9, 100])
def test_other_numbers_of_frames_are_malformed(count: int) -> None:
    with pytest.raises(MalformedInput) as refused:
        check_frame_count(count)
    assert refused.value.code == "frame_count"


def test_one_frame_stands_under_its_own_operating_point(living: list[Pixels]) -> None:
    assert look(living[:1], ScriptedPad(0.61)).cue is None
    assert look(living[:1], ScriptedPad(0.5)).cue is Cue.PAD


def test_a_burst_is_judged_together(living: list[Pixels]) -> None:
    assert look(living, ScriptedPad(0.5, 0.5, 0.2, 0.5)).cue is None
    assert look(living, ScriptedPad(0.4, 0.1, 0.1, 0.4)).cue is Cue.PAD


def test_the_probe_is_one_frame_that_passed_and_never_an_attack_frame(living: list[Pixels]) -> None:
    sharpness = [acquire(frame, FakeFaceDetector(FACE), QUALITY).quality.sharpness for frame in living]
    best = int(np.argmax(sharpness))
    scores = [0.9] * 4
    seen = look(living, ScriptedPad(*scores))
    assert np.array_equal(seen.sample.aligned, acquire(living[best], FakeFaceDetector(FACE), QUALITY).aligned)
    scores[best] = 0.29
    seen = look(living, ScriptedPad(*scores))
    assert seen.cue is None
    assert seen.sample.quality.sharpness == sorted(sharpness)[-2]


def test_a_burst_that_cannot_be_followed_is_worth_a_single_frame(living: list[Pixels]) -> None:
    other = np.roll(living[2], (150, 220), (0, 1))  # what was the face is now something else
    pad = ScriptedPad(0.5, 0.5, 0.5)
    assert look([living[0], other, living[1]], pad).cue is Cue.PAD
    assert pad.singles == 1
    assert look([living[0], other, living[1]], ScriptedPad(0.9, 0.9, 0.9)).cue is None


def test_repeated_frames_are_an_attack_whatever_pad_says(living: list[Pixels]) -> None:
    assert look([living[0]] * 3, ScriptedPad(1.0, 1.0, 1.0)).cue is Cue.FRAME_REPEATED
    assert look([living[0]] * 3, None).cue is Cue.FRAME_REPEATED


def test_a_change_of_resolution_is_an_attack(living: list[Pixels]) -> None:
    frames = [*living[:2], np.ascontiguousarray(living[2][:500])]
    assert look(frames, ScriptedPad(1.0, 1.0, 1.0)).cue is Cue.RESOLUTION_CHANGED


def test_a_burst_may_lose_frames_but_not_too_many(living: list[Pixels]) -> None:
    dark = np.zeros_like(living[0])
    assert look([*living[:3], dark], ScriptedPad(0.9, 0.9, 0.9)).cue is not Cue.PAD
    with pytest.raises(UnusableFace) as refused:
        look([*living[:2], dark, dark], ScriptedPad(0.9, 0.9))
    assert refused.value.code == "too_dark"
    with pytest.raises(UnusableFace) as refused:
        look(living, ScriptedPad(0.9), FakeFaceDetector())
    assert refused.value.code == "face_not_found"


def test_without_pad_a_burst_must_still_be_consistent(living: list[Pixels]) -> None:
    assert look(living, None).cue is None
    assert look(living[:1], None).cue is None
