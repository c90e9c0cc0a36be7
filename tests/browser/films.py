"""What a fake camera sees: films in Motion JPEG, made of the public-domain portraits, attacks and QR codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import segno
from PIL import Image

from biometrics.types import Pixels
from evaluation.attacks import replay_attack

WIDTH, HEIGHT = 640, 480
FRAMES = 48
"""At the fake camera's 20 frames a second a film of one scene is 2.4 s long, and begins again."""


def standing(person: Pixels, head: tuple[float, float, float], *, seed: int = 7) -> Iterator[Pixels]:
    """Film somebody who stands before the gate and sways a little; `head` is the middle (x, y) and height of the head.

    All in pixels of the portrait; the head gets 55 % of the picture's height.
    """
    rng = np.random.default_rng(seed)
    x, y, height = head
    scale = 0.55 * HEIGHT / height
    for n in range(FRAMES):
        sway = 3.0 * np.sin(2 * np.pi * n / FRAMES), 2.0 * np.cos(2 * np.pi * n / FRAMES)
        matrix = np.array(
            [[scale, 0, WIDTH / 2 - scale * x + sway[0]], [0, scale, HEIGHT / 2 - scale * y + sway[1]]], np.float64
        )
        picture = cv2.warpAffine(
            person, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        noise = rng.normal(0, 2.0, picture.shape)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def screen_replay(person: Pixels, *, seed: int = 7) -> Iterator[Pixels]:
    """Film a portrait on a display that somebody holds before the gate."""
    rng = np.random.default_rng(seed)
    for n in range(12):
        picture = replay_attack(person, np.random.default_rng(seed))
        shifted = np.roll(picture, (n % 3, n % 4), (0, 1))
        noise = rng.normal(0, 1.5, shifted.shape)
        scale = max(WIDTH / shifted.shape[1], HEIGHT / shifted.shape[0])
        whole = cv2.resize(np.clip(shifted + noise, 0, 255).astype(np.uint8), None, fx=scale, fy=scale)
        top, left = (whole.shape[0] - HEIGHT) // 2, (whole.shape[1] - WIDTH) // 2
        yield np.ascontiguousarray(whole[top : top + HEIGHT, left : left + WIDTH])


def shown_token(text: str, frames: int = FRAMES) -> Iterator[Pixels]:
    """Film a QR code that is held before the camera."""
    png = BytesIO()
    segno.make(text, error="m", micro=False).save(png, kind="png", scale=6, border=4)
    code = np.asarray(Image.open(png).convert("RGB").resize((300, 300), Image.Resampling.NEAREST))
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture[90:390, 170:470] = code
    for n in range(frames):
        yield np.roll(picture, n % 5, 1)


def nobody(frames: int = FRAMES) -> Iterator[Pixels]:
    """Film an empty hall."""
    across = np.linspace(60, 140, WIDTH)[None, :, None].repeat(HEIGHT, 0).repeat(3, 2).astype(np.uint8)
    for n in range(frames):
        yield np.roll(across, n, 1)


def write(path: Path, *scenes: Iterator[Pixels] | Sequence[Pixels]) -> Path:
    """Write scenes one after the other as a Motion JPEG film that Chromium's fake camera plays."""
    with path.open("wb") as film:
        for scene in scenes:
            for picture in scene:
                done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
                assert done
                film.write(jpeg.tobytes())
    return path
