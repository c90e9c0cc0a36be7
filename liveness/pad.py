"""Presentation attack detection: is the face in front of the camera a living one, or a picture of one?

Terms after ISO/IEC 30107-3. The network sees an upright square around the face, somewhat wider than the face box, so
that the edge of a sheet or of a display comes into view, and returns the probability that the face is bona fide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from biometrics.card import ModelCard
from biometrics.errors import ModelUnusable
from biometrics.ports import Network
from biometrics.types import Face, FloatArray, Pixels


@dataclass(frozen=True, slots=True)
class PadAssessment:
    """The verdict on one face; `score` is the probability of bona fide, 0-1, and never leaves the system."""

    bona_fide: bool
    score: float = field(repr=False)

    def __bool__(self) -> bool:
        return self.bona_fide


@dataclass(frozen=True, slots=True)
class BurstAssessment:
    """The verdict on several frames of one face together, and on each of them by the same threshold."""

    bona_fide: bool
    frames: tuple[PadAssessment, ...]


class PadDetector(Protocol):
    """Tells a living face from a picture of one."""

    @property
    def model_digest(self) -> str:
        """SHA-256 of the network, in hexadecimal."""
        ...

    def assess(self, image: Pixels, face: Face) -> PadAssessment:
        """Assess one detected face in the image that it was detected in."""
        ...

    def assess_burst(self, images: Sequence[Pixels], faces: Sequence[Face]) -> BurstAssessment:
        """Assess the one face of several frames, each with the frame that it was detected in."""
        ...


class PadNetwork:
    """A `PadDetector` made of a network and its card; safe for several threads if the network is.

    `bpcer` chooses the operating point on the card for a single frame: the share of living people that it may refuse;
    `burst_bpcer` the one for several frames together, by default the same. Raises `ModelUnusable` if the card has no
    such point or describes another task.
    """

    def __init__(
        self, network: Network, card: ModelCard, *, bpcer: float = 0.05, burst_bpcer: float | None = None
    ) -> None:
        if card.task != "pad":
            raise ModelUnusable("The model card does not describe a PAD network.")
        thresholds = {point.rate: point.threshold for point in card.operating_points}
        burst_bpcer = bpcer if burst_bpcer is None else burst_bpcer
        for rate in (bpcer, burst_bpcer):
            if rate not in thresholds:
                raise ModelUnusable(f"The model card has no operating point for a BPCER of {rate}.")
        self._network = network
        self._input = card.input
        self._digest = card.sha256
        self._threshold = thresholds[bpcer]
        self._burst_threshold = thresholds[burst_bpcer]

    @property
    def model_digest(self) -> str:
        """SHA-256 of the network, in hexadecimal."""
        return self._digest

    @property
    def provider_name(self) -> str:
        """What runs the network."""
        return self._network.provider_name

    def assess(self, image: Pixels, face: Face) -> PadAssessment:
        """Assess one detected face; raise `ModelUnusable` if the network answers with something else than a score."""
        score = self._score(image, face)
        return PadAssessment(score >= self._threshold, score)

    def assess_burst(self, images: Sequence[Pixels], faces: Sequence[Face]) -> BurstAssessment:
        """Assess the face of several frames; the mean of the scores' logits decides (docs/liveness.md).

        One run a frame: on OpenVINO and TensorRT every new size of a batch would be compiled anew.
        """
        scores = [self._score(image, face) for image, face in zip(images, faces, strict=True)]
        frames = tuple(PadAssessment(score >= self._burst_threshold, score) for score in scores)
        return BurstAssessment(fused(scores) >= self._burst_threshold, frames)

    def crop(self, image: Pixels, face: Face) -> Pixels:
        """Cut out of an image what the network sees of a face: size x size x 3."""
        return context_crop(image, face, context=self._input.context, size=self._input.size)

    def score(self, crop: Pixels) -> float:
        """Return the probability of bona fide of one crop; raise `ModelUnusable` if the network gives something else.

        For `liveness/explain.py` and evaluation: a score never leaves the system.
        """
        batch = normalized(crop[None], mean=self._input.mean, std=self._input.std)
        score = float(self._network.run(batch)[0].reshape(-1)[0])
        if not 0.0 <= score <= 1.0:  # also refuses NaN: any doubt keeps the gate shut
            raise ModelUnusable("The PAD network gave something else than a probability.")
        return score

    def _score(self, image: Pixels, face: Face) -> float:
        return self.score(self.crop(image, face))


def fused(scores: Sequence[float]) -> float:
    """Return the probability whose logit is the mean of the scores' logits; certainty is held to one in a million."""
    kept = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return float(1 / (1 + np.exp(-np.mean(np.log(kept / (1 - kept))))))


def normalized(crops: Pixels, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> FloatArray:
    """Turn n x S x S x 3 pixels into network input, n x 3 x S x S, as (x - mean) / std on RGB 0-255."""
    # Turned around while a pixel is one byte: four times as fast as turning floats.
    planes = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).astype(np.float32)
    if any(mean):
        planes -= np.array(mean, np.float32)[:, None, None]
    if any(spread != 1 for spread in std):
        planes /= np.array(std, np.float32)[:, None, None]
    return planes


def context_crop(image: Pixels, face: Face, *, context: float, size: int) -> Pixels:
    """Cut a square around a face, turned so that the eyes are level: size x size x 3.

    The side is `context` times the geometric mean of the box's sides. Where it reaches past the image, the image is
    mirrored at its border, so that no flat band tells where the face came from.
    """
    side = max(context * float(np.sqrt(max(face.box.area, 1.0))), 1.0)
    shrink = max(1, min(round(side / (2 * size)), *image.shape[:2]))
    if shrink > 1:
        # Averaging before sampling: warpAffine alone would skip pixels and invent patterns that look like a screen.
        image = _averaged(image, shrink)
    matrix = crop_matrix(face, side=side, size=size) @ _to_full_size(shrink)
    cut = cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cut, dtype=np.uint8)


def crop_matrix(face: Face, *, side: float, size: int) -> FloatArray:
    """Return the 3 x 3 matrix from image pixels to a crop of `size` whose square has `side` pixels in the image.

    The square is centered on the box and turned by the angle of the line between the eyes.
    """
    eye_line = face.landmarks[1] - face.landmarks[0]
    angle = np.arctan2(float(eye_line[1]), float(eye_line[0]))
    scale = size / side
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = face.box.center
    middle = size / 2 - 0.5
    return np.array(
        [
            [cos, sin, middle - cos * x - sin * y],
            [-sin, cos, middle + sin * x - cos * y],
            [0.0, 0.0, 1.0],
        ],
        dtype=np.float32,
    )


def _to_full_size(shrink: int) -> FloatArray:
    """Return the 3 x 3 matrix from pixels of an averaged image to those of the full one, center to center."""
    offset = (shrink - 1) / 2
    return np.array([[shrink, 0, offset], [0, shrink, offset], [0, 0, 1]], dtype=np.float32)


def _averaged(image: Pixels, shrink: int) -> Pixels:
    """Shrink by a whole number, averaging areas."""
    height, width = image.shape[0] // shrink, image.shape[1] // shrink
    whole = image[: height * shrink, : width * shrink]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
