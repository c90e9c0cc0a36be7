"""Turning heads and moved photographs, rendered from two portraits and seen through a simulated camera."""

from __future__ import annotations

import numpy as np
import pytest

from biometrics.types import Box, Face, Pixels
from evaluation.camera import CameraSettings, photograph
from evaluation.moving import Pose, moved_head, moved_sheet, sway
from liveness.cue import Cue
from liveness.motion import Motion, follow, motion_cue

CAMERA = CameraSettings(shot_noise=0.008, jpeg_quality=90)
LANDMARKS = np.array([[206, 112], [246, 111], [228, 135], [211, 153], [245, 152]], np.float32)
"""Of the astronaut."""
FACE = Face(Box(178, 70, 94, 114), 0.99, LANDMARKS)


def burst(astronaut: Pixels, move: object, poses: list[Pose], seed: int = 3) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [photograph(move(astronaut, LANDMARKS, pose), CAMERA, rng) for pose in poses]  # type: ignore[operator]


@pytest.mark.parametrize(
    "motion",
    [
        {"yaw": 12},
        {"yaw": -8, "right": 0.3},
        {"yaw": 2, "pitch": 6, "down": 0.15},
        {"yaw": 0, "right": 0.2, "down": 0.1},
    ],
)
def test_a_head_that_moves_raises_no_suspicion_and_the_same_moves_of_a_sheet_do(
    astronaut: Pixels, motion: dict[str, float]
) -> None:
    poses = sway(5, **motion)
    head = follow(burst(astronaut, moved_head, poses), FACE)
    assert len(head) == 4
    assert motion_cue(head) is None
    assert motion_cue(follow(burst(astronaut, moved_sheet, poses), FACE)) is Cue.FLAT_SURFACE


def test_a_sheet_that_hardly_moves_is_not_told_from_a_head(astronaut: Pixels) -> None:
    """The limit that docs/liveness.md states."""
    assert motion_cue(follow(burst(astronaut, moved_sheet, sway(5, yaw=2, pitch=6)), FACE)) is None


def test_a_turned_cut_out_before_a_still_background_has_no_relief(astronaut: Pixels) -> None:
    frames = burst(astronaut, moved_sheet, sway(5, yaw=30))
    still = burst(astronaut, moved_sheet, [Pose()] * 5, seed=4)
    for frame, background in zip(frames, still, strict=True):
        frame[:, :150], frame[:, 300:], frame[:50] = background[:, :150], background[:, 300:], background[:50]
    assert motion_cue(follow(frames, FACE)) is Cue.FLAT_SURFACE


def test_a_picture_on_a_stand_stands_too_still(astronaut: Pixels) -> None:
    motions = follow(burst(astronaut, moved_sheet, [Pose()] * 5), FACE)
    assert len(motions) == 4
    assert motion_cue(motions) is Cue.NO_MOTION


def test_a_face_that_is_swapped_is_not_followed(astronaut: Pixels, grace_hopper: Pixels) -> None:
    other = np.ascontiguousarray(grace_hopper[60:572, :512])
    rng = np.random.default_rng(0)
    frames = [photograph(scene, CAMERA, rng) for scene in (astronaut, other, other)]
    assert len(follow(frames, FACE)) < 2


def test_nothing_to_follow_is_no_verdict() -> None:
    blank = np.full((300, 300, 3), 120, np.uint8)
    assert follow([blank] * 3, FACE) == []
    assert motion_cue([]) is None


@pytest.mark.parametrize(
    "box", [Box(-40, -30, 100, 120), Box(250, 260, 90, 90), Box(0, 0, 1, 1), Box(10, 10, 900, 900)]
)
def test_faces_at_the_border_do_no_harm(box: Box) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (300, 300, 3), np.uint8) for _ in range(3)]
    follow(frames, Face(box, 0.9, LANDMARKS))


def test_the_rules_at_their_limits() -> None:
    def cue(**values: float) -> Cue | None:
        motion = {"face": 5.0, "bend": 0.1, "flat_rest": 0.1, "flat_rest_80": 0.2, "around": 4.0} | values
        return motion_cue([Motion(**motion)])

    assert cue() is None
    assert cue(around=0.74) is Cue.FLAT_SURFACE
    assert cue(around=0.76) is None
    assert cue(face=2.9, around=0.0) is None
    assert cue(bend=0.3, flat_rest=0.1) is Cue.FLAT_SURFACE
    assert cue(bend=0.3, flat_rest=0.11) is None
    assert cue(bend=0.3, flat_rest=0.1, flat_rest_80=0.22) is None
    assert cue(face=0.05) is Cue.NO_MOTION
