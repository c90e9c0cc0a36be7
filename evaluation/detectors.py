"""Compares our face detector with a reference whose findings are in a file (training/reference_mtcnn.py)."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biometrics.decoding import decode_image
from biometrics.errors import MalformedInput
from biometrics.ports import FaceDetector
from biometrics.types import Face, FloatArray
from evaluation.images import open_images

MATCH_IOU: Final = 0.5
"""A box of ours and one of the reference's are the same face if they share this much of their union."""

CLOSE_IOU: Final = 0.9

MAX_BYTES: Final = 10 * 2**20
MAX_PIXELS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Reference:
    """What the reference found: names of n photographs, and m faces with the number of their photograph.

    `boxes` m x 4 as x1, y1, x2, y2; `landmarks` m x 5 x 2; pixels.
    """

    names: tuple[str, ...]
    image: NDArray[np.int64]
    boxes: FloatArray
    landmarks: FloatArray

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a file written by `python -m training.reference_mtcnn`; raise `MalformedInput` if it is not one."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                names = tuple(str(name) for name in file["names"])
                return cls(names, file["image"], file["boxes"], file["landmarks"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise MalformedInput("This is not a file of reference detections.") from error


@dataclass(frozen=True, slots=True)
class DetectorComparison:
    """How far two detectors agree; distances in pixels, over the five landmarks of all matched faces.

    `close_of_matched` and `close_of_reference` are the shares of matched and of all reference faces with an
    IoU of 0.9 or more; `unmatched` counts our faces that the reference does not have.
    """

    images: int
    reference_faces: int
    our_faces: int
    matched: int
    unmatched: int
    close_of_matched: float
    close_of_reference: float
    landmark_median: float
    landmark_p95: float
    milliseconds_per_image: float


def compare_detectors(
    images: Path, reference: Reference, detector: FaceDetector, *, limit: int | None = None
) -> DetectorComparison:
    """Run our detector over the reference's photographs, in a folder or zip file, and compare.

    Raises `MalformedInput` if a photograph is missing or cannot be decoded.
    """
    names = reference.names[:limit]
    matches: list[tuple[float, FloatArray]] = []
    our_faces, seconds = 0, 0.0
    with open_images(images) as source:
        for number, name in enumerate(names):
            image = decode_image(source.read(name, MAX_BYTES), max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
            started = time.perf_counter()
            faces = detector.detect(image)
            seconds += time.perf_counter() - started
            our_faces += len(faces)
            of_image = reference.image == number
            matches += match_faces(faces, reference.boxes[of_image], reference.landmarks[of_image])
    reference_faces = int(np.count_nonzero(reference.image < len(names)))
    close = sum(overlap >= CLOSE_IOU for overlap, _ in matches)
    distances = np.concatenate([distance for _, distance in matches] or [np.full(1, np.nan, np.float32)])
    return DetectorComparison(
        images=len(names),
        reference_faces=reference_faces,
        our_faces=our_faces,
        matched=len(matches),
        unmatched=our_faces - len(matches),
        close_of_matched=close / max(1, len(matches)),
        close_of_reference=close / max(1, reference_faces),
        landmark_median=float(np.median(distances)),
        landmark_p95=float(np.percentile(distances, 95)),
        milliseconds_per_image=1000 * seconds / max(1, len(names)),
    )


def match_faces(faces: list[Face], boxes: FloatArray, landmarks: FloatArray) -> Iterator[tuple[float, FloatArray]]:
    """Pair faces with reference boxes, best IoU first, each once; yield IoU and the five landmark distances."""
    if not faces or not len(boxes):
        return
    table = np.array([[iou(face, box) for box in boxes] for face in faces])
    while table.max() >= MATCH_IOU:
        ours, theirs = np.unravel_index(int(table.argmax()), table.shape)
        yield (
            float(table[ours, theirs]),
            np.linalg.norm(faces[ours].landmarks - landmarks[theirs], axis=1).astype(np.float32),
        )
        table[ours, :] = table[:, theirs] = -1


def iou(face: Face, box: FloatArray) -> float:
    """Return the intersection over union of a face's box and one given as x1, y1, x2, y2."""
    width = min(face.box.x + face.box.width, box[2]) - max(face.box.x, box[0])
    height = min(face.box.y + face.box.height, box[3]) - max(face.box.y, box[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    union = face.box.area + float((box[2] - box[0]) * (box[3] - box[1])) - shared
    return shared / union if union > 0 else 0.0
