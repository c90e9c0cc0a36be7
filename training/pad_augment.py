"""Changes PAD crops at random, both classes alike: no camera, sharpness, size or compression may tell the class."""

from __future__ import annotations

import cv2
import numpy as np

from biometrics.types import Pixels
from evaluation.camera import jpeg_roundtrip
from training.pad_simulation import SIZE, WIDE


def serving_crop(wide: Pixels) -> Pixels:
    """Return what the gate would see: the middle of wide crops, ... x SIZE x SIZE x 3."""
    margin = (WIDE - SIZE) // 2
    return np.ascontiguousarray(wide[..., margin : margin + SIZE, margin : margin + SIZE, :])


def augmented(wide: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Return one changed SIZE x SIZE x 3 crop of a wide crop; `other` is a wide crop of anybody, of either class.

    Often the face stands before the other's background, at times in its light: people pose before what is
    at hand, and neither a plain wall nor a well-lit face must make a print.
    """
    crop, background = _moved(wide, rng), _moved(other, rng)
    if rng.random() < 0.2:
        crop = _in_light_of(crop, background, rng)
    if rng.random() < 0.4:
        crop = _before(crop, background, rng)
    crop = _resolution(crop, rng)
    crop = _light(crop, rng)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.0, 8.0)
        noisy = crop + sigma * rng.standard_normal(crop.shape, dtype=np.float32)
        crop = np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)
    if rng.random() < 0.5:
        crop = jpeg_roundtrip(crop, int(rng.integers(50, 96)))
    if rng.random() < 0.2:
        _erase(crop, rng)
    return crop


def _in_light_of(crop: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Take over the mean and spread of each color from another crop (Reinhard et al., "Color Transfer", 2001)."""
    inner = slice(SIZE // 4, 3 * SIZE // 4)
    ours, theirs = (part[inner, inner].reshape(-1, 3).astype(np.float32) for part in (crop, other))
    spread = np.clip(theirs.std(axis=0) / (ours.std(axis=0) + 1.0), 0.4, 2.5)
    lit = (crop.astype(np.float32) - ours.mean(axis=0)) * spread + theirs.mean(axis=0)
    mixed = crop + np.float32(rng.uniform(0.3, 1.0)) * (lit - crop)
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def _before(crop: Pixels, background: Pixels, rng: np.random.Generator) -> Pixels:
    """Keep a soft-edged ellipse with the face, from chin to forehead, and take the rest from another crop."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    axes = (int(SIZE * rng.uniform(0.29, 0.36)), int(SIZE * rng.uniform(0.40, 0.47)))
    cv2.ellipse(mask, (SIZE // 2, SIZE // 2), axes, 0, 0, 360, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(1.0, 5.0)), dtype=np.float32)
    return np.asarray(background + mask[..., None] * (crop.astype(np.float32) - background), dtype=np.uint8)


def _moved(wide: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirror, turn, enlarge and shift."""
    if rng.random() < 0.5:
        wide = np.ascontiguousarray(wide[:, ::-1])
    matrix = cv2.getRotationMatrix2D((WIDE / 2 - 0.5, WIDE / 2 - 0.5), rng.uniform(-8, 8), rng.uniform(0.92, 1.12))
    matrix[:, 2] = matrix[:, 2] + rng.uniform(-8, 8, 2) - (WIDE - SIZE) / 2
    moved = cv2.warpAffine(wide, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def _resolution(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Lose detail as a small or soft picture does, or sharpen as a camera's processor does."""
    choice = rng.random()
    if choice < 0.25:
        small = int(rng.integers(64, SIZE))
        down = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(down, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    elif choice < 0.4:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.3, 1.5)), dtype=np.uint8)
    elif choice < 0.65:
        soft = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.6, 1.5))
        amount = rng.uniform(0.2, 1.2)
        crop = np.asarray(cv2.addWeighted(crop, 1 + amount, soft, -amount, 0), dtype=np.uint8)
    return crop


def _light(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Change exposure, contrast, white balance and saturation."""
    pixels = crop.astype(np.float32) / 255.0
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * (rng.uniform(0.4, 1.4) if rng.random() < 0.85 else 0.0)
    middle = float(pixels.mean())
    pixels = middle + (pixels - middle) * rng.uniform(0.7, 1.3)
    pixels = pixels * rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    pixels = np.clip(pixels, 0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    return np.asarray(pixels * 255.0, dtype=np.uint8)


def _erase(crop: Pixels, rng: np.random.Generator) -> None:
    """Cover a patch with a flat color, in place: no one spot may decide."""
    height, width = rng.integers(12, 48, 2)
    top, left = rng.integers(0, SIZE - 12, 2)
    crop[top : top + height, left : left + width] = rng.integers(0, 256, 3)
