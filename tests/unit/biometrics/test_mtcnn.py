from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.mtcnn import MOST_PROPOSALS, AreaTable, MtcnnDetector, pyramid_scales, suppress
from biometrics.types import FloatArray, Pixels
from infra.models import build_detector
from infra.settings import Settings
from tests.fakes import FakeNetwork


def adaptive_average(image: Pixels, height: int, width: int) -> FloatArray:
    """Adaptive average pooling as PyTorch documents it, cell by cell."""
    h, w = image.shape[:2]
    out = np.empty((3, height, width), np.float64)
    for i in range(height):
        for j in range(width):
            rows = slice(i * h // height, -(-(i + 1) * h // height))
            columns = slice(j * w // width, -(-(j + 1) * w // width))
            out[:, i, j] = image[rows, columns].reshape(-1, 3).mean(axis=0)
    return ((out - 127.5) / 128).astype(np.float32)


sizes = st.integers(1, 40)


@given(sizes, sizes, sizes, sizes, st.integers(0, 2**32 - 1))
def test_shrinking_is_adaptive_average_pooling(h: int, w: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)
    np.testing.assert_allclose(
        AreaTable(image).shrink(height, width)[0], adaptive_average(image, height, width), atol=1e-5
    )


@given(
    st.lists(st.tuples(*[st.floats(-60, 80, width=32)] * 4), max_size=6), st.sampled_from([24, 48]), st.integers(0, 99)
)
def test_crops_are_clipped_and_averaged(corners: list[tuple[float, ...]], size: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (30, 50, 3), np.uint8)
    boxes = np.array([(*c, 1.0) for c in corners], np.float32).reshape(-1, 5)
    kept, crops = AreaTable(image).crops(boxes, size)
    expected = []
    for x1, y1, x2, y2, _ in np.trunc(boxes).astype(int):
        cut = image[max(y1, 1) - 1 : max(min(y2, 30), 0), max(x1, 1) - 1 : max(min(x2, 50), 0)]
        if cut.size:
            expected.append(adaptive_average(cut, size, size))
    assert len(kept) == len(crops) == len(expected)
    if expected:
        np.testing.assert_allclose(crops, np.stack(expected), atol=1e-5)


def test_sums_that_wrap_around_still_give_the_right_means() -> None:
    white = np.full((3000, 3000, 3), 255, np.uint8)  # 2.3e9 in all, more than an int32 holds
    np.testing.assert_allclose(AreaTable(white).shrink(50, 50), (255 - 127.5) / 128, atol=1e-6)


def test_the_pyramid_covers_nearest_to_farthest() -> None:
    scales = pyramid_scales(720, 1280, 60, 400)
    windows = [12 / scale for scale in scales]
    assert windows[0] == pytest.approx(60)
    assert windows[-2] < 400 <= windows[-1]
    assert len(pyramid_scales(720, 1280, 60, 8000)) == 8
    assert pyramid_scales(59, 2000, 60, 1200) == []


def test_suppression_keeps_the_best_of_each_group() -> None:
    boxes = np.array(
        [[0, 0, 10, 10, 0.8], [1, 1, 11, 11, 0.9], [20, 20, 30, 30, 0.7], [22, 22, 26, 26, 0.6]], np.float32
    )
    assert suppress(boxes, 0.5).tolist() == [1, 2, 3]
    assert suppress(boxes, 0.7, of_smaller=True).tolist() == [1, 2]
    assert suppress(boxes, 0.5, most=1).tolist() == [1]
    assert suppress(np.empty((0, 5), np.float32), 0.5).size == 0


@given(st.integers(0, 60), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_kept_boxes_do_not_overlap_and_dropped_ones_do(n: int, overlap: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 50, (n, 2))
    boxes = np.column_stack((first, first + rng.uniform(1, 30, (n, 2)), rng.permutation(n) / 100)).astype(np.float32)

    def iou(a: FloatArray, b: FloatArray) -> float:
        size = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
        shared = float(np.prod(np.maximum(size, 0)))
        return shared / (float(np.prod(a[2:4] - a[:2])) + float(np.prod(b[2:4] - b[:2])) - shared)

    kept = suppress(boxes, overlap).tolist()
    for row in range(n):
        better = [k for k in kept if boxes[k, 4] > boxes[row, 4]]
        worst = max((iou(boxes[k], boxes[row]) for k in better), default=0.0)
        assert worst <= overlap + 1e-5 if row in kept else worst > overlap - 1e-5


def test_the_portraits_have_one_face_with_landmarks_in_place(
    detector: MtcnnDetector, astronaut: Pixels, hopper: Pixels
) -> None:
    for image, eye_middle in ((astronaut, (226, 101)), (hopper, (265, 186))):
        (face,) = detector.detect(image)
        assert face.score > 0.999
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert np.linalg.norm((left_eye + right_eye) / 2 - eye_middle) < 6
        assert face.landmarks.dtype == np.float32
        assert face.landmarks.shape == (5, 2)


def test_all_faces_of_a_group_are_found_best_first(detector: MtcnnDetector, astronaut: Pixels, hopper: Pixels) -> None:
    faces = detector.detect(np.concatenate((astronaut, hopper[:512]), axis=1))
    assert [face.box.center[0] > 512 for face in faces] in ([True, False], [False, True])
    assert faces[0].score >= faces[1].score


@pytest.mark.parametrize("turned", [False, True])
def test_coordinates_follow_a_large_image_down_and_back(
    detector: MtcnnDetector, astronaut: Pixels, turned: bool
) -> None:
    image = astronaut[:, ::-1] if turned else astronaut
    large = cv2.resize(image, (2049 + 512, 2049 + 512), interpolation=cv2.INTER_CUBIC)
    (small_face,), (large_face,) = detector.detect(image), detector.detect(large)
    np.testing.assert_allclose(large_face.landmarks / (2561 / 512), small_face.landmarks, atol=3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (59, 59), (60, 60), (61, 20_000), (300, 300)])
@pytest.mark.parametrize("value", [0, 255])
def test_images_without_a_face_give_none(detector: MtcnnDetector, shape: tuple[int, int], value: int) -> None:
    assert detector.detect(np.full((*shape, 3), value, np.uint8)) == []


def test_noise_gives_no_face_and_raises_nothing(detector: MtcnnDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert all(face.score > 0.7 for face in detector.detect(noise))


def test_smaller_faces_than_the_farthest_are_not_found(astronaut: Pixels) -> None:
    detector = build_detector(Settings(farthest_face_pixels=300))
    assert detector.detect(astronaut) == []


def test_an_image_full_of_proposals_costs_bounded_work() -> None:
    def everywhere(batch: FloatArray) -> list[FloatArray]:
        rows, columns = (batch.shape[2] - 10) // 2, (batch.shape[3] - 10) // 2
        ones = np.ones((1, 2, rows, columns), np.float32)
        return [np.zeros((1, 4, rows, columns), np.float32), ones]

    def passing(n: int) -> list[FloatArray]:
        return [np.zeros((n, 4), np.float32), np.ones((n, 2), np.float32)]

    rnet = FakeNetwork(lambda batch: passing(len(batch)))
    onet = FakeNetwork(
        lambda batch: [passing(len(batch))[0], np.zeros((len(batch), 10), np.float32), passing(len(batch))[1]]
    )
    detector = MtcnnDetector(FakeNetwork(everywhere), rnet, onet, farthest_face_pixels=20, nearest_face_pixels=1200)
    detector.detect(np.zeros((1000, 1000, 3), np.uint8))
    assert sum(shape[0] for shape in rnet.shapes) <= MOST_PROPOSALS[1]
    assert sum(shape[0] for shape in onet.shapes) <= MOST_PROPOSALS[2]
    assert max(shape[0] for shape in rnet.shapes + onet.shapes) <= 256
