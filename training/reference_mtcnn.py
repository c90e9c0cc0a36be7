"""Runs facenet-pytorch's own MTCNN over photographs and writes what it finds, for comparison only.

    python -m training.reference_mtcnn IMAGES OUTPUT.npz [--farthest 20] [--limit N]

`OUTPUT.npz` holds `names` (n), `image` (m, index into names), `boxes` (m x 4: x1, y1, x2, y2), `scores` (m)
and `landmarks` (m x 5 x 2), in pixels; `dwarpal evaluate detector` compares our detector with it.
"""

from __future__ import annotations

import argparse
import io
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from biometrics.types import FloatArray

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def greedy_nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float) -> torch.Tensor:
    """Do what `torchvision.ops.boxes.batched_nms` does: greedy suppression by IoU within each group."""
    order = torch.argsort(scores, descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        size = torch.minimum(boxes[best, 2:], boxes[rest, 2:]) - torch.maximum(boxes[best, :2], boxes[rest, :2])
        shared = size.clamp(min=0).prod(dim=1)
        iou = shared / (area[best] + area[rest] - shared)
        order = rest[(iou <= threshold) | (groups[rest] != groups[best])]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.long)


def import_reference() -> types.ModuleType:
    """Import facenet-pytorch with a stand-in for torchvision, whose wheels often do not fit our torch."""
    for name in ("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
    for part in ("transforms.functional", "datasets"):
        sys.modules[f"torchvision.{part}"] = types.ModuleType(f"torchvision.{part}")
    vars(sys.modules["torchvision.ops.boxes"])["batched_nms"] = greedy_nms
    vars(sys.modules["torchvision.transforms"])["functional"] = sys.modules["torchvision.transforms.functional"]
    vars(sys.modules["torchvision"])["datasets"] = sys.modules["torchvision.datasets"]
    vars(sys.modules["torchvision"])["transforms"] = sys.modules["torchvision.transforms"]
    import facenet_pytorch.models.mtcnn as reference

    return reference  # type: ignore[no-any-return]


def photographs(source: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield (name, RGB image) for every photograph in a folder or zip file, by name."""
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
            yield path.relative_to(source).as_posix(), Image.open(path).convert("RGB")
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(n for n in archive.namelist() if Path(n).suffix.lower() in SUFFIXES):
            yield name, Image.open(io.BytesIO(archive.read(name))).convert("RGB")


def main() -> None:
    """Run the reference over all photographs and save its findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--farthest", type=int, default=20, help="smallest face in pixels")
    parser.add_argument("--limit", type=int, default=None, help="stop after this many photographs")
    options = parser.parse_args()

    detector = import_reference().MTCNN(min_face_size=options.farthest, keep_all=True, select_largest=False)
    names: list[str] = []
    found = []
    for name, photograph in photographs(options.images):
        if options.limit is not None and len(names) >= options.limit:
            break
        boxes, scores, landmarks = _detect(detector, photograph)
        found.append((np.full(len(boxes), len(names)), boxes, scores, landmarks))
        names.append(name)
        if len(names) % 100 == 0:
            print(f"\r{len(names)} photographs", end="", file=sys.stderr)
    image, boxes, scores, landmarks = (np.concatenate(part) for part in zip(*found, strict=True))
    np.savez_compressed(
        options.output, names=np.array(names), image=image, boxes=boxes, scores=scores, landmarks=landmarks
    )
    print(f"\n{len(names)} photographs, {len(boxes)} faces -> {options.output}", file=sys.stderr)


def _detect(detector: torch.nn.Module, photograph: Image.Image) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return boxes, scores and landmarks; facenet-pytorch fails where nothing is proposed: no faces there."""
    try:
        boxes, scores, landmarks = detector.detect(photograph, landmarks=True)  # type: ignore[operator]
    except RuntimeError:
        boxes = None
    if boxes is None:
        return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
    return (
        np.asarray(boxes, np.float32),
        np.asarray(scores, np.float32),
        np.asarray(landmarks, np.float32),
    )


if __name__ == "__main__":
    main()
