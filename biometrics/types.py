"""The values that every part speaks in: pixels, faces, templates, quality codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""One image, height x width x 3, RGB, 0-255."""

FloatArray = NDArray[np.float32]
"""Network input or output."""

EMBEDDING_SIZE = 512


class QualityCode(StrEnum):
    """Why a face cannot be used, in words that never change (API.md)."""

    FACE_NOT_FOUND = "face_not_found"
    MULTIPLE_FACES = "multiple_faces"
    FACE_TOO_SMALL = "face_too_small"
    TOO_BLURRED = "too_blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    EXTREME_POSE = "extreme_pose"
    OCCLUDED = "occluded"
    ATTACK_SUSPECTED = "attack_suspected"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: `x`, `y` of the top left corner, `width`, `height`; may reach past the image."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """The middle, as (x, y) in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """The area in square pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face: box, detector score 0-1, and five landmarks.

    `landmarks` is 5 x 2 float32, (x, y) in pixels, in the order left eye, right eye, nose tip, left and right mouth
    corner as they stand in the image.
    """

    box: Box
    score: float
    landmarks: FloatArray


class Template:
    """A unit vector of 512 float32 that stands for a subject; mutable so that it can be zeroed, silent when printed.

    Use as a context manager: leaving the block overwrites the numbers.
    """

    __slots__ = ("_vector",)

    def __init__(self, vector: FloatArray) -> None:
        if vector.shape != (EMBEDDING_SIZE,) or vector.dtype != np.float32:
            raise ValueError(f"a template is {EMBEDDING_SIZE} float32")
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or abs(norm - 1.0) > 1e-2:
            raise ValueError("a template has unit length")
        self._vector = vector

    @property
    def vector(self) -> FloatArray:
        """The numbers themselves: 512 float32, not a copy."""
        return self._vector

    def matches(self, probe: Self, threshold: float) -> bool:
        """Say whether the cosine with a probe reaches a threshold."""
        return float(self._vector @ probe.vector) >= threshold

    def zero(self) -> None:
        """Overwrite the numbers."""
        self._vector.fill(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.zero()

    def __repr__(self) -> str:
        return "<Template>"


@dataclass(frozen=True, slots=True)
class SampleQuality:
    """What one face sample is worth; `problems` in order of weight, empty when the sample is usable.

    `face_pixels` is the shorter side of the face box in pixels; `sharpness` the variance of the Laplacian on the
    aligned crop; `brightness` the mean luma 0-255; `yaw`, `pitch`, `roll` rough degrees from the landmarks.
    """

    face_pixels: float
    sharpness: float
    brightness: float
    yaw: float
    pitch: float
    roll: float
    problems: tuple[QualityCode, ...] = field(default=())

    def __bool__(self) -> bool:
        return not self.problems
