"""Brings a face to the standard position: a similarity transform to the ArcFace template."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from biometrics.types import FloatArray, Pixels

ALIGNED_SIZE: Final = 112

ARCFACE_TEMPLATE: Final[FloatArray] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where the five landmarks lie in a 112 x 112 aligned face, (x, y) in pixels.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019 (InsightFace's reference
code).
"""


def umeyama(source: FloatArray, target: FloatArray) -> FloatArray:
    """Return the 2 x 3 similarity that moves n x 2 `source` points closest to `target` (least squares).

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991,
    equations 34 to 43. If all source points coincide the scale is 0.
    """
    source64, target64 = source.astype(np.float64), target.astype(np.float64)
    source_mean, target_mean = source64.mean(axis=0), target64.mean(axis=0)
    source_centered, target_centered = source64 - source_mean, target64 - target_mean
    u, singular, vt = np.linalg.svd(target_centered.T @ source_centered / len(source))
    signs = np.array([1.0, -1.0 if np.linalg.det(u) * np.linalg.det(vt) < 0 else 1.0])
    rotation = u @ np.diag(signs) @ vt
    variance = source_centered.var(axis=0).sum()
    scale = (singular @ signs) / variance if variance > 0 else 0.0
    linear = scale * rotation
    return np.column_stack((linear, target_mean - linear @ source_mean)).astype(np.float32)


def align(image: Pixels, landmarks: FloatArray, size: int = ALIGNED_SIZE) -> Pixels:
    """Return the size x size aligned face for 5 x 2 landmarks; beyond the image's edge it is black.

    A face much larger than the result is first shrunk by averaging whole blocks, because linear sampling
    would skip most of its pixels and alias.
    """
    transform = umeyama(landmarks, ARCFACE_TEMPLATE * (size / ALIGNED_SIZE))
    scale = math.hypot(transform[0, 0], transform[1, 0])
    block = int(1 / scale) if scale > 0 else 1
    if block >= 2:
        image, offset = _shrunk_around(image, transform, size, block)
        # A block's middle lies half a block, less half a pixel, from its first pixel.
        middle = offset + (block - 1) / 2
        transform = np.column_stack((transform[:, :2] * block, transform[:, :2] @ middle + transform[:, 2]))
    warped = cv2.warpAffine(image, transform, (size, size), flags=cv2.INTER_LINEAR)
    return warped.astype(np.uint8, copy=False)


def _shrunk_around(image: Pixels, transform: FloatArray, size: int, block: int) -> tuple[Pixels, FloatArray]:
    """Cut out what the aligned face will show, average blocks of pixels; return it and its corner (x, y)."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float32)
    shown = (corners - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T
    height, width = image.shape[:2]
    first = np.clip(np.floor(shown.min(axis=0)) - block, 0, (width - 1, height - 1)).astype(int)
    last = np.clip(np.ceil(shown.max(axis=0)) + block, first + 1, (width, height)).astype(int)
    columns, rows = (max(1, int(n)) for n in (last - first) // block)
    left, top = (int(n) for n in first)
    cut = image[top : top + rows * block, left : left + columns * block]
    shrunk = cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.uint8, copy=False), first.astype(np.float32)
