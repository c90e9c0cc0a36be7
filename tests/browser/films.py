"""What a fake camera sees: films in Motion JPEG, made of the public-domain portraits, attacks and QR codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import segno
from PIL import Image

from biometrics.types import Pixels
from evaluation.attacks import replay_attack
from evaluation.camera import PRESETS, photograph

Head = tuple[float, float, float]

WIDTH, HEIGHT = 640, 480
SHARE = 0.55
"""Of the picture's height for a head."""

FRAMES = 48
"""At the fake camera's 20 frames a second a film of one scene is 2.4 s long, and begins again."""


def standing(person: Pixels, head: Head, *, seed: int = 7) -> Iterator[Pixels]:
    """Film somebody who stands before the gate and sways a little; `head` is the middle (x, y) and height of the head.

    All in pixels of the portrait; the gate's camera is the simulated one of the demo.
    """
    rng = np.random.default_rng(seed)
    x, y, height = head
    scale = SHARE * HEIGHT / height
    place = np.array([[scale, 0, WIDTH / 2 - scale * x], [0, scale, HEIGHT / 2 - scale * y]])
    scene = cv2.warpAffine(person, place, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    for n in range(FRAMES):
        phase = 2 * np.pi * n / FRAMES
        view = replace(PRESETS["boarding"], yaw=4 + 2 * np.sin(phase), turn=np.cos(phase))
        yield photograph(scene, view, rng)


def screen_replay(person: Pixels, head: Head, *, seed: int = 7) -> Iterator[Pixels]:
    """Film a display that shows somebody's film, held before the gate."""
    for n, picture in enumerate(standing(person, head)):
        square = picture[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2]
        held = cv2.resize(replay_attack(square, np.random.default_rng(seed)), (HEIGHT, HEIGHT))
        side = np.full((HEIGHT, (WIDTH - HEIGHT) // 2, 3), 70, np.uint8)
        yield np.hstack([side, held, side])
        if n == 15:
            return


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


def write(path: Path, *scenes: Iterable[Pixels]) -> Path:
    """Write scenes one after the other as a Motion JPEG film that Chromium's fake camera plays."""
    with path.open("wb") as film:
        for scene in scenes:
            for picture in scene:
                done, jpeg = cv2.imencode(
                    ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95]
                )
                assert done
                film.write(jpeg.tobytes())
    return path
