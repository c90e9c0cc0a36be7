"""Frames of one camera, and frames that are not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from biometrics.types import Pixels
from evaluation.camera import CameraSettings, photograph
from liveness.consistency import inconsistency, noise_level
from liveness.cue import Cue

CAMERA = CameraSettings(shot_noise=0.01, jpeg_quality=90)


def shots(scene: Pixels, *settings: CameraSettings, seed: int = 1) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [photograph(scene, one, rng) for one in settings]


def test_one_camera_is_consistent_also_when_nothing_moves(astronaut: Pixels) -> None:
    assert inconsistency(shots(astronaut, CAMERA)) is None
    assert inconsistency(shots(astronaut, *[CAMERA] * 5)) is None
    moving = [replace(CAMERA, yaw=2.0 * n, turn=n, gain=1 + 0.02 * n, blur=0.5 + 0.03 * n) for n in range(5)]
    assert inconsistency(shots(astronaut, *moving)) is None


def test_a_quiet_camera_is_consistent(astronaut: Pixels) -> None:
    quiet = replace(CAMERA, shot_noise=0.002, read_noise=0.0005, jpeg_quality=70)
    assert inconsistency(shots(astronaut, *[quiet] * 3)) is None


def test_a_change_of_resolution(astronaut: Pixels) -> None:
    frames = shots(astronaut, *[CAMERA] * 3)
    frames[1] = np.ascontiguousarray(frames[1][:-1])
    assert inconsistency(frames) is Cue.RESOLUTION_CHANGED


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_repeated_frame_wherever_it_stands(astronaut: Pixels, first: int) -> None:
    frames = shots(astronaut, *[CAMERA] * 4)
    frames[3] = frames[first].copy()
    assert inconsistency(frames) is Cue.FRAME_REPEATED
    frames[3][200:220, 200:220] ^= 1  # changing a few pixels does not hide it
    assert inconsistency(frames) is Cue.FRAME_REPEATED


def test_frames_of_a_noisier_camera_between(astronaut: Pixels) -> None:
    noisy = replace(CAMERA, shot_noise=0.08)
    assert inconsistency(shots(astronaut, CAMERA, noisy, CAMERA)) is Cue.NOISE_CHANGED


def test_the_noise_level_grows_with_the_noise() -> None:
    rng, flat = np.random.default_rng(0), np.full((200, 200), 128.0)
    levels = [
        noise_level(np.clip(flat + rng.normal(0, sigma, flat.shape), 0, 255).astype(np.uint8)) for sigma in (1, 2, 4, 8)
    ]
    assert noise_level(np.full((200, 200), 128, np.uint8)) == 0
    assert all(1.7 < later / earlier < 2.2 for earlier, later in pairwise(levels))


def test_tiny_and_large_frames_are_bounded_work() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 3), (3, 2000, 3), (2000, 2500, 3)):
        frames = [rng.integers(0, 256, shape, np.uint8) for _ in range(3)]
        assert inconsistency(frames) in (None, Cue.FRAME_REPEATED, Cue.NOISE_CHANGED)
