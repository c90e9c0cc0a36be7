"""Two public-domain portraits, and what a thief sees of them: the only faces that this project shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from biometrics.alignment import ALIGNED_SIZE, align
from biometrics.capture import center_face
from biometrics.types import Pixels
from evaluation.acquisition import BatchEmbedder
from infra.gallery import random_rotation
from infra.models import build_detector
from infra.settings import Settings
from services.demo.scenes import ASTRONAUT, HOPPER, portrait
from services.inversion import Decoders, reconstructed, sealed_as_numbers

MARGIN, LEFT = 8, 84
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def draw_portraits(settings: Settings, embedder: BatchEmbedder, decoders: Decoders, path: Path) -> None:
    """Write the picture: a row each for the originals and what becomes of plain, rotated and sealed templates.

    Raises `NotReady` without the packages that carry the portraits.
    """
    detector = build_detector(settings)
    originals = []
    for source in (ASTRONAUT, HOPPER):
        image = portrait(source)
        originals.append(align(image, center_face(detector.detect(image), image.shape).landmarks))
    templates = embedder.embed_many(originals)
    rows = {
        "original": originals,
        "plain": reconstructed(decoders.plain, templates),
        "rotated": reconstructed(decoders.plain, templates @ random_rotation()),
        "sealed": reconstructed(decoders.plain, sealed_as_numbers(templates)),
    }
    _, content = cv2.imencode(".png", cv2.cvtColor(_grid(rows), cv2.COLOR_RGB2BGR))
    path.write_bytes(content.tobytes())


def _grid(rows: dict[str, list[Pixels]]) -> Pixels:
    step = ALIGNED_SIZE + MARGIN
    columns = max(map(len, rows.values()))
    sheet = np.full((len(rows) * step + MARGIN, LEFT + columns * step, 3), WHITE, np.uint8)
    for number, (name, faces) in enumerate(rows.items()):
        top = MARGIN + number * step
        place = (MARGIN, top + ALIGNED_SIZE // 2)
        cv2.putText(sheet, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, BLACK, 1, cv2.LINE_AA)
        for column, face in enumerate(faces):
            left = LEFT + column * step
            sheet[top : top + ALIGNED_SIZE, left : left + ALIGNED_SIZE] = face
    return sheet
