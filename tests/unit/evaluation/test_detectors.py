from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biometrics.errors import MalformedInput
from biometrics.types import Box, Face
from evaluation.detectors import Reference, compare_detectors, iou, match_faces
from tests.fakes import FakeFaceDetector

POINTS = np.array([[4, 4], [8, 4], [6, 6], [4, 8], [8, 8]], np.float32)


def face(x: float, width: float = 10, shift: float = 0) -> Face:
    return Face(Box(x, 0, width, 10), 0.99, POINTS + np.array([x + shift, 0], np.float32))


def reference(tmp_path: Path, *faces_of_image: list[Face]) -> Reference:
    flat = [(number, f) for number, faces in enumerate(faces_of_image) for f in faces]
    np.savez(
        tmp_path / "reference.npz",
        names=np.array([f"{number}.png" for number in range(len(faces_of_image))]),
        image=np.array([number for number, _ in flat], np.int64),
        boxes=np.array(
            [[f.box.x, f.box.y, f.box.x + f.box.width, f.box.y + f.box.height] for _, f in flat], np.float32
        ).reshape(-1, 4),
        scores=np.ones(len(flat)),
        landmarks=np.array([f.landmarks for _, f in flat], np.float32).reshape(-1, 5, 2),
    )
    for number in range(len(faces_of_image)):
        Image.new("RGB", (200, 100)).save(tmp_path / f"{number}.png")
    return Reference.load(tmp_path / "reference.npz")


def test_iou() -> None:
    assert iou(face(0), np.array([0, 0, 10, 10])) == 1
    assert iou(face(0), np.array([5, 0, 15, 10])) == pytest.approx(1 / 3)
    assert iou(face(0), np.array([20, 0, 30, 10])) == 0
    assert iou(face(0, width=0), np.array([0, 0, 0, 0])) == 0


def test_each_face_is_matched_once_best_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10]], np.float32)
    matches = list(match_faces([face(1)], boxes, np.stack([POINTS, POINTS + 1])))
    assert [overlap for overlap, _ in matches] == [1]
    assert list(match_faces([], boxes, np.stack([POINTS, POINTS]))) == []


def test_equal_detectors_agree(tmp_path: Path) -> None:
    found = [face(0), face(50)]
    result = compare_detectors(tmp_path, reference(tmp_path, found, found), FakeFaceDetector(*found))
    assert (result.images, result.reference_faces, result.our_faces, result.matched, result.unmatched) == (
        2,
        4,
        4,
        4,
        0,
    )
    assert result.close_of_matched == result.close_of_reference == 1
    assert result.landmark_median == 0


def test_missed_added_and_shifted_faces_are_counted(tmp_path: Path) -> None:
    expected = reference(tmp_path, [face(0), face(50)], [])
    result = compare_detectors(tmp_path, expected, FakeFaceDetector(face(0, width=12, shift=2), face(150)))
    assert (result.reference_faces, result.our_faces, result.matched, result.unmatched) == (2, 4, 1, 3)
    assert result.close_of_matched == result.close_of_reference == 0
    assert result.landmark_median == result.landmark_p95 == 2


def test_a_limit_counts_only_what_was_looked_at(tmp_path: Path) -> None:
    expected = reference(tmp_path, [face(0)], [face(0)])
    result = compare_detectors(tmp_path, expected, FakeFaceDetector(face(0)), limit=1)
    assert (result.images, result.reference_faces, result.matched) == (1, 1, 1)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(MalformedInput):
        Reference.load(tmp_path / "x.npz")
