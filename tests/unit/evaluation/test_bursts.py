"""Cutting labelled frames into bursts, and what is counted of them."""

from __future__ import annotations

import numpy as np

from biometrics.errors import MalformedInput
from biometrics.quality import QualityPolicy
from biometrics.types import Pixels
from evaluation.bursts import burst_report, bursts_in
from evaluation.camera import CameraSettings, photograph
from evaluation.moving import moved_head, sway
from evaluation.protocol import Presentation
from tests.fakes import FakeFaceDetector, FakePadDetector
from tests.unit.liveness.test_motion import FACE, LANDMARKS


def frames(sequence: str, *numbers: int, bona_fide: bool = True) -> list[Presentation]:
    species = "" if bona_fide else "print"
    return [Presentation(f"{sequence}_{n}.webp", bona_fide, species, "someone") for n in numbers]


def names(bursts: list[list[Presentation]]) -> list[list[str]]:
    return [[frame.image for frame in burst] for burst in bursts]


def test_bursts_follow_the_numbers_and_do_not_overlap() -> None:
    mixed = [*frames("a/x", 10, 2, 30, 4, 5, 6, 7), *frames("a/y", 1, 2), Presentation("a/z.webp", True)]
    assert names(bursts_in(mixed, 3)) == [
        ["a/x_2.webp", "a/x_4.webp", "a/x_5.webp"],
        ["a/x_6.webp", "a/x_7.webp", "a/x_10.webp"],
    ]


def test_a_sequence_never_mixes_the_living_with_attacks() -> None:
    assert bursts_in([*frames("a", 1, 2), *frames("a", 3, bona_fide=False)], 3) == []


def test_the_report_counts_cues_failures_and_rendered_motion(astronaut: Pixels) -> None:
    rng = np.random.default_rng(2)
    living = [
        photograph(moved_head(astronaut, LANDMARKS, pose), CameraSettings(shot_noise=0.008), rng)
        for pose in sway(3, yaw=8, right=0.2)
    ]
    images = {f"live_{n}.webp": frame for n, frame in enumerate(living)} | {
        f"still_{n}.webp": living[0] for n in range(3)
    }

    def load(name: str) -> Pixels:
        if name not in images:
            raise MalformedInput("missing")
        return images[name]

    bright = FakePadDetector()
    bright.assess = lambda image, face: type(FakePadDetector().assess(image, face))(True, 0.9)  # type: ignore[method-assign]
    report = burst_report(
        [*frames("live", 0, 1, 2), *frames("gone", 0, 1, 2), *frames("still", 0, 1, 2, bona_fide=False)],
        load,
        detector=FakeFaceDetector(FACE),
        pad=bright,
        quality=QualityPolicy(min_mouth_detail=0.0, min_eye_brightness=0.0),
        size=3,
        poses=2,
    )
    assert (report.burst["bona_fide"].n, report.burst["bona_fide"].unusable) == (2, 1)
    assert report.burst["bona_fide"].suspected == 0
    assert report.burst["print"].by_cue == {"frame_repeated": 1}
    assert report.single["print"].suspected == 0
    assert report.rendered["sheet"].n == report.rendered["head"].n == 2
    assert report.rendered["sheet"].suspected > report.rendered["head"].suspected
