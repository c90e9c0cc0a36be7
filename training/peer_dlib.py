"""dlib's face recognition as the package `face_recognition` runs it: its own detector, alignment, network and distance.

The weights come with the package `face_recognition_models`, which is not imported: that needs a setuptools of long ago.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import dlib
import numpy as np

from biometrics.capture import center_face
from biometrics.types import Box, Face, FloatArray, Pixels
from evaluation.peers import Peer, on_sphere

MODEL = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"

UPSAMPLED = 1
"""How often face_recognition doubles a photograph before it looks for faces."""

CHIP_PIXELS, CHIP_PADDING = 150, 0.25
"""The network's input: dlib's `compute_face_descriptor` cuts it so."""

FindBoxes = Callable[[Pixels], list[Box]]


class DlibRecognizer:
    """face_recognition's defaults: HOG detector, five landmarks, one 150 x 150 chip, no jitter.

    With `find_boxes` another detector says where faces are, and dlib does the rest.
    """

    def __init__(self, folder: Path, find_boxes: FindBoxes | None = None) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(folder / LANDMARKS))
        self._network = dlib.face_recognition_model_v1(str(folder / MODEL))
        self._find_boxes = find_boxes or self._own_boxes

    def find(self, image: Pixels) -> Pixels:
        """Return the chip of the face nearest the middle; raise `UnusableFace` if there is none."""
        nowhere = np.zeros((5, 2), np.float32)
        box = center_face([Face(box, 1.0, nowhere) for box in self._find_boxes(image)], image.shape).box
        edges = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)  # dlib counts both ends
        shape = self._landmarks(image, dlib.rectangle(*(round(edge) for edge in edges)))
        return np.asarray(dlib.get_face_chip(image, shape, size=CHIP_PIXELS, padding=CHIP_PADDING), np.uint8)

    def embed(self, sample: Pixels) -> FloatArray:
        """Return the 128 numbers, lifted so that cosines rank as dlib's Euclidean distance does."""
        return on_sphere(self.descriptor(sample))

    def descriptor(self, chip: Pixels) -> FloatArray:
        """Return dlib's own 128 numbers."""
        return np.array(self._network.compute_face_descriptor(chip), np.float32)

    def _own_boxes(self, image: Pixels) -> list[Box]:
        found = self._detector(image, UPSAMPLED)
        return [Box(each.left(), each.top(), each.width(), each.height()) for each in found]


def weights_folder() -> Path:
    """Return the folder of the weights; raise `ModuleNotFoundError` if the package is not installed."""
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'face_recognition_models'", name="face_recognition_models")
    return Path(spec.origin).parent / "models"


def describe(name: str, folder: Path, *notes: str) -> Peer:
    """Say what is measured."""
    size = (folder / MODEL).stat().st_size
    return Peer(
        name=name,
        what="dlib face_recognition_resnet_model_v1, a ResNet of 29 convolutions, input 150 x 150",
        size=128,
        parameters=size // 4,
        weight_bytes=size,
        runtime=f"dlib {_version()} ({_built()})",
        licence="code Boost 1.0, weights CC0 1.0",
        notes=("parameters estimated from the file, 4 bytes each", "compared by Euclidean distance", *notes),
    )


def _built() -> str:
    """Say what of a fast build this one has; without BLAS dlib multiplies matrices by itself."""
    return f"{'' if dlib.USE_AVX_INSTRUCTIONS else 'no '}AVX, {'' if dlib.DLIB_USE_BLAS else 'no '}BLAS"


def _version() -> str:
    for package in ("dlib-bin", "dlib"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "of unknown version"
