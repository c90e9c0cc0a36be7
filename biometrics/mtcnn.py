"""Face detection with the MTCNN cascade, batched.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016. The
steps and their rounding follow facenet-pytorch 2.5 so that its weights give its results:
1. P-Net proposes boxes on a pyramid of shrunk images; 2. R-Net refines and refuses, on 24 x 24 crops;
3. O-Net refines, refuses and finds five landmarks, on 48 x 48 crops.

All shrinking averages areas. Every average is taken from one table of sums (Crow, "Summed-area tables for
texture mapping", 1984), so that the pyramid and hundreds of crops cost a few look-ups each and are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.ports import Network
from biometrics.types import Box, Face, FloatArray, Pixels

IntArray = NDArray[np.intp]

PYRAMID_FACTOR = 0.709
"""Shrinks the area by half from one level of the pyramid to the next."""

PNET_CELL = 12
PNET_STRIDE = 2
RNET_SIZE = 24
ONET_SIZE = 48

LARGEST_TABLE_PIXELS = 4_000_000
"""A table of sums takes 12 bytes a pixel: larger images are halved first if the faces stay large enough."""

MOST_PROPOSALS = (4096, 1024, 256)
"""No image may cost unbounded work: only the best go on from one pyramid level, to R-Net, and to O-Net."""

CHUNK = 256
"""Crops in one run of a network, which bounds its memory."""


class MtcnnDetector:
    """Finds faces between two sizes; see `FaceDetector`. As safe for several threads as its networks."""

    def __init__(
        self,
        pnet: Network,
        rnet: Network,
        onet: Network,
        *,
        farthest_face_pixels: int,
        nearest_face_pixels: int,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
    ) -> None:
        self._pnet = pnet
        self._rnet = rnet
        self._onet = onet
        self._farthest = farthest_face_pixels
        self._nearest = nearest_face_pixels
        self._thresholds = thresholds

    @property
    def provider_name(self) -> str:
        """What runs the network."""
        return self._pnet.provider_name

    def detect(self, image: Pixels) -> list[Face]:
        """Return all faces, best score first; boxes and landmarks in pixels of `image`."""
        halvings = _halvings(image.shape[0] * image.shape[1], self._farthest)
        for _ in range(halvings):
            image = _halved(image)
        unit = 2**halvings
        table = AreaTable(image)
        scales = pyramid_scales(table.height, table.width, self._farthest / unit, self._nearest / unit)
        boxes = self._propose(table, scales)
        boxes = self._refine(table, boxes)
        boxes, landmarks = self._finish(table, boxes)
        return [
            Face(
                Box(*(float(v) * unit for v in (x1, y1, x2 - x1, y2 - y1))),
                float(score),
                np.ascontiguousarray(points * unit, dtype=np.float32),
            )
            for (x1, y1, x2, y2, score), points in zip(boxes, landmarks, strict=True)
        ]

    def _propose(self, table: AreaTable, scales: Sequence[float]) -> FloatArray:
        """P-Net over the pyramid: return square boxes, n x 5 as x1, y1, x2, y2, score."""
        levels = []
        for scale in scales:
            shrunk = table.shrink(int(table.height * scale + 1), int(table.width * scale + 1))
            regression, probability = self._pnet.run(shrunk)
            boxes = _boxes_from_map(regression[0], probability[0, 1], scale, self._thresholds[0])
            levels.append(boxes[suppress(boxes, 0.5, most=MOST_PROPOSALS[0])])
        boxes = np.concatenate(levels) if levels else np.empty((0, 9), np.float32)
        boxes = boxes[suppress(boxes, 0.7, most=MOST_PROPOSALS[1])]
        size = np.tile(boxes[:, 2:4] - boxes[:, 0:2], 2)
        return _squared(np.column_stack((boxes[:, :4] + boxes[:, 5:9] * size, boxes[:, 4])))

    def _refine(self, table: AreaTable, boxes: FloatArray) -> FloatArray:
        """R-Net on each box: return the better ones, moved, square, n x 5."""
        boxes, crops = table.crops(boxes, RNET_SIZE)
        regression, probability = _run_chunks(self._rnet, crops, ((4,), (2,)))
        passed = probability[:, 1] > self._thresholds[1]
        boxes, regression = _with_score(boxes[passed], probability[passed, 1]), regression[passed]
        kept = suppress(boxes, 0.7, most=MOST_PROPOSALS[2])
        return _squared(_moved(boxes[kept], regression[kept]))

    def _finish(self, table: AreaTable, boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """O-Net on each box: return final boxes, n x 5, and landmarks, n x 5 x 2, best first."""
        boxes, crops = table.crops(boxes, ONET_SIZE)
        regression, points, probability = _run_chunks(self._onet, crops, ((4,), (10,), (2,)))
        passed = probability[:, 1] > self._thresholds[2]
        boxes, regression = _with_score(boxes[passed], probability[passed, 1]), regression[passed]
        size = boxes[:, 2:4] - boxes[:, 0:2] + 1
        relative = points[passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = relative * size[:, None, :] + boxes[:, None, 0:2] - 1
        boxes = _moved(boxes, regression)
        kept = suppress(boxes, 0.7, of_smaller=True)
        return boxes[kept], landmarks[kept]


class AreaTable:
    """A table of sums over an image, from which any shrunk version follows by differences.

    Averages are those of adaptive average pooling: cell i of n over a length m spans floor(i m / n) to
    ceil((i + 1) m / n).
    """

    def __init__(self, image: Pixels) -> None:
        self.height, self.width = image.shape[:2]
        # (H + 1) x (W + 1) x 3 int32; sums may wrap around, differences come out right all the same.
        self._sums = cv2.integral(image).astype(np.int32, copy=False)

    def shrink(self, height: int, width: int) -> FloatArray:
        """Return the image as network input, 1 x 3 x height x width."""
        top, bottom = _cell_edges(np.zeros(1, np.intp), np.array([self.height]), height)
        left, right = _cell_edges(np.zeros(1, np.intp), np.array([self.width]), width)
        rows = self._sums[bottom[0]] - self._sums[top[0]]
        sums = rows[:, right[0]] - rows[:, left[0]]
        return _as_input(sums[None], bottom - top, right - left)

    def crops(self, boxes: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
        """Cut each box out, clipped to the image; return the boxes that touch it, and n x 3 x size x size."""
        corners = np.trunc(np.clip(boxes[:, :4], -(2**30), 2**30)).astype(np.intp)
        left, top = np.maximum(corners[:, 0], 1) - 1, np.maximum(corners[:, 1], 1) - 1
        right, bottom = np.minimum(corners[:, 2], self.width), np.minimum(corners[:, 3], self.height)
        inside = (right > left) & (bottom > top)
        y0, y1 = _cell_edges(top[inside], (bottom - top)[inside], size)
        x0, x1 = _cell_edges(left[inside], (right - left)[inside], size)

        def sums_at(y: IntArray, x: IntArray) -> NDArray[np.int32]:
            corner: NDArray[np.int32] = self._sums[y[:, :, None], x[:, None, :]]
            return corner

        sums = sums_at(y1, x1) - sums_at(y0, x1) - sums_at(y1, x0) + sums_at(y0, x0)
        return boxes[inside], _as_input(sums, y1 - y0, x1 - x0)


def pyramid_scales(height: int, width: int, farthest: float, nearest: float) -> list[float]:
    """Return the scales at which P-Net's 12-pixel window sees faces from `farthest` to `nearest` pixels.

    The last scale is the first whose window spans `nearest` or more.
    """
    scales: list[float] = []
    scale = PNET_CELL / farthest
    # The shorter side shrinks by repeated multiplication, as in facenet-pytorch, to stop at the same level.
    side = min(height, width) * scale
    while side >= PNET_CELL and (not scales or PNET_CELL / scales[-1] < nearest):
        scales.append(scale)
        scale *= PYRAMID_FACTOR
        side *= PYRAMID_FACTOR
    return scales


def suppress(boxes: FloatArray, overlap: float, *, of_smaller: bool = False, most: int | None = None) -> IntArray:
    """Drop boxes that a better one covers: n x 5+ (x1, y1, x2, y2, score) to the kept rows, best first.

    Greedy: a box goes if it shares more than `overlap` of the union with a better one, or, with `of_smaller`,
    of the smaller box (counting whole pixels there, as facenet-pytorch does). At most `most` rows are looked
    at.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")[:most]
    x1, y1, x2, y2 = boxes[order, :4].T
    pixel = np.float32(1 if of_smaller else 0)
    area = (x2 - x1 + pixel) * (y2 - y1 + pixel)
    waiting = np.arange(len(order))
    kept = []
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        kept.append(order[best])
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + pixel
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + pixel
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - shared
        waiting = rest[shared <= overlap * whole]
    return np.array(kept, np.intp)


def _halvings(pixels: int, farthest: int) -> int:
    """Return how often an image is halved: the smallest face must still fill R-Net's input."""
    halvings = 0
    while pixels / 4**halvings > LARGEST_TABLE_PIXELS and farthest / 2 ** (halvings + 1) >= RNET_SIZE:
        halvings += 1
    return halvings


def _halved(image: Pixels) -> Pixels:
    """Average 2 x 2 pixels; an odd last row or column is dropped, so that coordinates simply double."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    half = cv2.resize(image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return half.astype(np.uint8, copy=False)


def _cell_edges(start: IntArray, length: IntArray, cells: int) -> tuple[IntArray, IntArray]:
    """Split n spans into cells: return the first and the one-past-last index of each, n x cells."""
    i = np.arange(cells)
    first = start[:, None] + (i * length[:, None]) // cells
    last = start[:, None] - (-(i + 1) * length[:, None]) // cells
    return first, last


def _as_input(sums: NDArray[np.int32], heights: IntArray, widths: IntArray) -> FloatArray:
    """Turn n x H x W x 3 sums over cells into n x 3 x H x W means, scaled to about -1 to 1."""
    count = (heights[:, :, None] * widths[:, None, :]).astype(np.float32)[..., None]
    return np.ascontiguousarray(((sums / count - 127.5) * 0.0078125).transpose(0, 3, 1, 2), dtype=np.float32)


def _boxes_from_map(regression: FloatArray, probability: FloatArray, scale: float, threshold: float) -> FloatArray:
    """Turn P-Net's maps (4 x h x w and h x w) into n x 9: x1, y1, x2, y2, score, four regressions."""
    rows, columns = np.nonzero(probability >= threshold)
    cells = np.column_stack((columns, rows)).astype(np.float32)
    first = np.floor((PNET_STRIDE * cells + 1) / np.float32(scale))
    last = np.floor((PNET_STRIDE * cells + PNET_CELL) / np.float32(scale))
    return np.column_stack((first, last, probability[rows, columns], regression[:, rows, columns].T))


def _squared(boxes: FloatArray) -> FloatArray:
    """Grow the shorter side of each box around its middle."""
    size = boxes[:, 2:4] - boxes[:, 0:2]
    side = size.max(axis=1, keepdims=True) if len(boxes) else np.empty((0, 1), np.float32)
    first = boxes[:, 0:2] + size * 0.5 - side * 0.5
    return np.column_stack((first, first + side, boxes[:, 4:])).astype(np.float32, copy=False)


def _moved(boxes: FloatArray, regression: FloatArray) -> FloatArray:
    """Move the corners of each box by fractions of its size."""
    size = np.tile(boxes[:, 2:4] - boxes[:, 0:2] + 1, 2)
    return np.column_stack((boxes[:, :4] + regression * size, boxes[:, 4:]))


def _with_score(boxes: FloatArray, score: FloatArray) -> FloatArray:
    return np.column_stack((boxes[:, :4], score))


def _run_chunks(network: Network, crops: FloatArray, shapes: Sequence[tuple[int, ...]]) -> list[FloatArray]:
    """Run a network on n crops and return its outputs; `shapes` are those of one row, if there is no crop."""
    if len(crops) == 0:
        return [np.empty((0, *shape), np.float32) for shape in shapes]
    runs = [network.run(crops[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]
