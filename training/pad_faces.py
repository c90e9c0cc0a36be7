"""Finds faces for training with the very cascade that serves, on facenet-pytorch's weights in torch."""

from __future__ import annotations

import numpy as np
import torch

from biometrics.mtcnn import MtcnnDetector
from biometrics.types import Box, Face, FloatArray, Pixels
from training.reference_mtcnn import import_reference

ALIGNED_SIZE = 112
ARCFACE_POINTS: FloatArray = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where the landmarks of an aligned face lie (InsightFace's 112 x 112 template)."""

ALIGNED_BOX = Box(17.0, 11.0, 77.0, 104.0)
"""Where our detector finds the box of an aligned face: the median over 57 faces of `faces-train`."""


class TorchNetwork:
    """A torch module behind the `Network` protocol."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module.eval()

    @property
    def provider_name(self) -> str:
        """What runs the network."""
        return "torch"

    def run(self, batch: FloatArray) -> list[FloatArray]:
        """Run n x C x H x W and return the outputs."""
        with torch.no_grad():
            return [output.numpy() for output in self._module(torch.from_numpy(batch))]


def build_detector(*, farthest_face_pixels: int = 40, nearest_face_pixels: int = 1000) -> MtcnnDetector:
    """Build the serving detector on torch, without `infra`."""
    reference = import_reference()
    return MtcnnDetector(
        TorchNetwork(reference.PNet()),
        TorchNetwork(reference.RNet()),
        TorchNetwork(reference.ONet()),
        farthest_face_pixels=farthest_face_pixels,
        nearest_face_pixels=nearest_face_pixels,
    )


def find_face(detector: MtcnnDetector, image: Pixels) -> tuple[Pixels, Face] | None:
    """Find the largest sure face, trying the picture upright, then on either side: (picture as it stood, face).

    Tight crops leave the detector no room: the border is mirrored first, and stays on the returned picture.
    """
    pad = round(0.25 * max(image.shape[:2]))
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    for quarter_turns in (0, 1, 3):
        turned = np.ascontiguousarray(np.rot90(padded, quarter_turns))
        faces = [face for face in detector.detect(turned) if face.score >= 0.95 and _in_middle(turned, face, pad)]
        if faces:
            return turned, max(faces, key=lambda face: face.box.area)
    return None


def _in_middle(image: Pixels, face: Face, pad: int) -> bool:
    """Say whether a face lies in the picture itself, not in its mirrored border, and stands roughly upright."""
    x, y = face.box.center
    inside = pad <= x < image.shape[1] - pad and pad <= y < image.shape[0] - pad
    across = face.landmarks[1] - face.landmarks[0]
    return inside and bool(across[0] > abs(across[1]))
