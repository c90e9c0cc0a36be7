"""Is it one person before one camera from the first frame to the last, and never the same frame twice?

What it remembers of earlier frames is their digest and their landmarks, and of the face one template: never a pixel.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from biometrics.comparison import cosine, mean_template
from biometrics.types import FloatArray, Pixels, Template
from liveness.challenge import CONFIRMING_FRAMES, FRONT_FRAMES, Refusal
from liveness.geometry import displacement

SAME_LANDMARKS: Final = 0.001
"""Landmarks of two frames that agree to this part of the distance between the eyes are those of one picture: noise
alone moves one of them by four times as much and more."""

TURNED_SHARE: Final = 0.5
"""A face that is turned away resembles its own front less: this part of the threshold counts for a whole turn, and in
between a part in proportion. Each movement begins from the front, so another person must pass there, too."""


class Continuity:
    """The memory of one session; `zero` overwrites the template."""

    def __init__(self, same_person: float) -> None:
        self._same_person = same_person
        self._shape: tuple[int, ...] | None = None
        self._digests: set[bytes] = set()
        self._landmarks: list[FloatArray] = []
        self._templates: list[Template] = []
        self._begun = 0
        self._doubts = 0

    def check_frame(self, frame: Pixels) -> Refusal | None:
        """Take in a frame before anything is looked for in it."""
        if self._shape not in (None, frame.shape):
            return Refusal.CAMERA_CHANGED
        self._shape = frame.shape
        digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
        if digest in self._digests:
            return Refusal.FRAMES_REPEATED
        self._digests.add(digest)
        return None

    def check_face(self, landmarks: FloatArray, template: Template, *, turned: float) -> Refusal | None:
        """Take in a frame's face, `turned` from 0 (front) to 1 (a whole turn); the template is copied if it is kept.

        The first `FRONT_FRAMES` faces of one person make the template that all others are compared with.
        """
        if any(displacement(before, landmarks) < SAME_LANDMARKS for before in self._landmarks):
            return Refusal.FRAMES_REPEATED
        self._landmarks.append(landmarks.copy())
        least = self._same_person * (1 - (1 - TURNED_SHARE) * turned)
        if any(cosine(known, template) < least for known in self._templates):
            return Refusal.FACE_CHANGED
        if self._begun == FRONT_FRAMES:
            return None
        self._begun += 1
        self._templates.append(Template(template.vector.copy()))
        if self._begun == FRONT_FRAMES:
            mean = mean_template(self._templates)
            self.zero()
            self._templates = [mean]
        return None

    def doubt(self, reason: Refusal | None) -> Refusal | None:
        """Return a reason to doubt that this frame shows the one person if the frame before gave one, too.

        One alone may be an error of the detector: then the frame counts for nothing.
        """
        self._doubts = 0 if reason is None else self._doubts + 1
        return reason if self._doubts >= CONFIRMING_FRAMES else None

    def take_template(self) -> Template:
        """Hand over the session's template, which is then the caller's to overwrite; there must have been a face."""
        [template] = self._templates
        self._templates = []
        return template

    def zero(self) -> None:
        """Overwrite whatever stands for the face, and forget it."""
        for template in self._templates:
            template.zero()
        self._templates = []
