"""Who stands at the gate: two public-domain portraits seen through simulated cameras, and attacks made of them."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from biometrics.decoding import decode_image
from biometrics.errors import NotReady
from biometrics.types import Pixels
from evaluation.attacks import print_attack, replay_attack
from evaluation.camera import PRESETS, CameraSettings, photograph_jpeg

ASTRONAUT = ("skimage", "data/astronaut.png")
HOPPER = ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")

DESK = CameraSettings(zoom=1.02, blur=0.4, shot_noise=0.008)
"""The camera of the enrollment desk: near, steady, well lit."""

ENROLLMENT_VIEWS = (replace(DESK, yaw=-5.0, turn=1.0), DESK, replace(DESK, yaw=5.0, slope=0.1))
"""The captures of one enrollment: a little to either side and straight ahead."""


def portrait(source: tuple[str, str]) -> Pixels:
    """Decode a picture that an installed package carries, without importing the package; raise `NotReady` if absent."""
    package, path = source
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotReady(f"The demo's pictures need the package {package}: pip install 'dwarpal[demo]'.")
    return decode_image((Path(spec.origin).parent / path).read_bytes(), max_bytes=2**24, max_pixels=2**24)


class Cameras:
    """Takes every picture of the demonstration, the same ones each time, and remembers them to look for them later."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(2026)
        self.taken: list[bytes] = []

    def enrollment(self, person: Pixels) -> list[bytes]:
        """Take the captures of one enrollment, as JPEG."""
        return [self._take(person, view) for view in ENROLLMENT_VIEWS]

    def gate(self, person: Pixels, purpose: str) -> bytes:
        """Take a capture at the gate for a purpose, as JPEG."""
        return self._take(person, PRESETS[purpose])

    def printed(self, person: Pixels) -> bytes:
        """Take a capture of a printed portrait that somebody holds up."""
        return self._take(print_attack(person, self._rng), PRESETS["entry"])

    def replayed(self, person: Pixels) -> bytes:
        """Take a capture of a portrait on a display that somebody holds up."""
        return self._take(replay_attack(person, self._rng), PRESETS["entry"])

    def _take(self, scene: Pixels, view: CameraSettings) -> bytes:
        picture = photograph_jpeg(scene, view, self._rng)
        self.taken.append(picture)
        return picture
