"""Shows an officer what PAD goes by: which parts of a capture speak for a living face, and which for a picture of one.

Occlusion (Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014), through the network that
serves: part after part of the crop is blurred away, and what that does to the score is what the part said.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from biometrics.types import Face, FloatArray, Pixels
from liveness.pad import PadNetwork

CELLS = 14
"""Rows and columns of parts."""

FULL_SCALE = 1.0
"""Change of the logit that is drawn in full color at the least, so that hardly any change looks like hardly any."""

_CERTAIN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What the network saw, size x size x 3, and what each part of it said, CELLS x CELLS.

    Positive: without the part the face looks less alive. The numbers are differences of logits; they stay inside.
    """

    crop: Pixels
    evidence: FloatArray
    bona_fide: bool


def explain(pad: PadNetwork, image: Pixels, face: Face) -> Explanation:
    """Explain the verdict on one face; takes CELLS * CELLS runs of the network."""
    crop = pad.crop(image, face)
    size = crop.shape[0]
    gone = np.asarray(cv2.GaussianBlur(crop, (0, 0), size / 24), dtype=np.float32)
    before = _logit(pad.score(crop))
    middles = (np.arange(CELLS) + 0.5) * size / CELLS
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    evidence = np.zeros((CELLS, CELLS), np.float32)
    for row, top in enumerate(middles):
        for column, left in enumerate(middles):
            # soft-edged: a hard edge would look like the edge of a sheet
            share = np.exp(-((((x - left) ** 2 + (y - top) ** 2) / (2 * (size / CELLS) ** 2)) ** 2))[..., None]
            covered = np.asarray(np.rint(crop + share * (gone - crop)), dtype=np.uint8)
            evidence[row, column] = before - _logit(pad.score(covered))
    return Explanation(crop, evidence, bool(pad.assess(image, face)))


def drawing(explanation: Explanation) -> Pixels:
    """Draw the crop, and beside it the crop under the evidence: green speaks for a living face, magenta for a picture.

    The strongest part has the full color; no number can be read off.
    """
    crop, size = explanation.crop, explanation.crop.shape[0]
    spread = max(FULL_SCALE, float(np.abs(explanation.evidence).max()))
    evidence = cv2.resize(explanation.evidence / spread, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    gray = crop.mean(axis=2, keepdims=True) * 0.6 + 60
    color = np.where(evidence > 0, np.array([40.0, 200.0, 60.0]), np.array([220.0, 30.0, 200.0]))
    weight = np.clip(np.abs(evidence), 0, 1) * 0.75
    mixed = gray * (1 - weight) + color * weight
    return np.concatenate((crop, np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)), axis=1)


def text_map(explanation: Explanation) -> list[str]:
    """Return a line for each row of parts: `+` speaks for a living face, `-` for a picture, `.` for neither."""
    limit = 0.35 * max(FULL_SCALE, float(np.abs(explanation.evidence).max()))
    signs = np.where(explanation.evidence > limit, "+", np.where(explanation.evidence < -limit, "-", "."))
    return [" ".join(row) for row in signs.tolist()]


def _logit(score: float) -> float:
    kept = min(max(score, _CERTAIN), 1 - _CERTAIN)
    return float(np.log(kept / (1 - kept)))
