"""Changes a picture at random before it is cropped, both classes alike: no camera, size or compression may tell."""

from __future__ import annotations

import cv2
import numpy as np

from biometrics.types import Face, Pixels
from evaluation.camera import jpeg_roundtrip
from training.pad_simulation import Portrait, jittered_face, moved_face


def augmented(portrait: Portrait, shrink: float, rng: np.random.Generator) -> Portrait:
    """Return a changed picture: mirrored, smaller, lit otherwise, compressed, and its face found a little off.

    `shrink` is how much smaller a picture of the other class from the same collection is: half the time this one is
    shrunk to that, so that the size of a picture says nothing.
    """
    pixels, face = portrait.pixels, jittered_face(portrait.face, rng)
    if rng.random() < 0.5:
        pixels, face = np.ascontiguousarray(pixels[:, ::-1]), _mirrored(face, pixels.shape[1])
    if shrink < 0.9 and rng.random() < 0.5:
        small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        pixels, face = np.asarray(small, dtype=np.uint8), moved_face(face, np.diag([shrink, shrink, 1.0]))
    if rng.random() < 0.8:
        pixels = _light(pixels, rng)
    if rng.random() < 0.2:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 0.9)), dtype=np.uint8)
    if rng.random() < 0.2:
        noisy = pixels + rng.uniform(0.0, 6.0) * rng.standard_normal(pixels.shape, dtype=np.float32)
        pixels = np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)
    if rng.random() < 0.4:
        pixels = jpeg_roundtrip(pixels, int(rng.integers(60, 96)))
    return Portrait(pixels, face)


def _light(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Change exposure, contrast, white balance and saturation."""
    pixels = image.astype(np.float32) / 255.0
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * rng.uniform(0.6, 1.3)
    middle = float(pixels.mean())
    pixels = middle + (pixels - middle) * rng.uniform(0.75, 1.25)
    pixels = pixels * rng.uniform(0.5, 1.3) * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    pixels = np.clip(pixels, 0, 1) ** np.float32(rng.uniform(0.7, 1.4))
    return np.asarray(pixels * 255.0, dtype=np.uint8)


def _mirrored(face: Face, width: int) -> Face:
    """Return a face in the mirror image of a picture; left and right landmarks change places."""
    turned = moved_face(face, np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]))
    return Face(turned.box, turned.score, np.ascontiguousarray(turned.landmarks[[1, 0, 2, 4, 3]]))
