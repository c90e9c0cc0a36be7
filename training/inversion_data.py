"""The faces that a thief trains with: photographs of other people, and what the shipped network makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import nn

from biometrics.types import EMBEDDING_SIZE, FloatArray, Pixels
from training.face_data import evaluation_faces, normalized, people_near, read_archive
from training.inversion_decoder import SIDE
from training.mobilefacenet import IMAGENET_MEAN, IMAGENET_STD, MobileFaceNet, load_teacher

EMBEDDER = Path("biometrics/weights/mobilefacenet512.onnx")
SOFT = "small64"
"""The source whose faces are enlarged from 64 x 64: they would teach a decoder to blur."""
HELD_OUT = 0.05
BATCH = 64


@dataclass(frozen=True)
class InversionData:
    """`pixels` n x 56 x 56 x 3, `embeddings` n x 512 unit vectors, `held_out` n: people kept for validation."""

    pixels: Pixels
    embeddings: FloatArray
    held_out: NDArray[np.bool_]


def load_embedder() -> MobileFaceNet:
    """Return the shipped network in PyTorch."""
    return load_teacher(EMBEDDER, EMBEDDING_SIZE)


def load_inversion_data(data: Path, cache: Path) -> InversionData:
    """Read the sharper faces of `faces-train.zip`, without people near to one of `lfw-dev.zip`; then from the cache."""
    if not cache.exists():
        found = _prepare(data, load_embedder())
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, pixels=found.pixels, embeddings=found.embeddings, held_out=found.held_out)
        partial.replace(cache)
    with np.load(cache) as stored:
        return InversionData(stored["pixels"], stored["embeddings"], stored["held_out"])


def _prepare(data: Path, embedder: MobileFaceNet) -> InversionData:
    faces, lines = read_archive(data / "faces-train.zip", without=SOFT)
    embeddings = embedded(embedder, faces, label="training faces")
    people = {name: number for number, name in enumerate(dict.fromkeys(line["subject"] for line in lines))}
    subject = np.array([people[line["subject"]] for line in lines])
    near = people_near(embeddings, subject, embedded(embedder, evaluation_faces(data / "lfw-dev.zip"), label="LFW"))
    kept = np.flatnonzero(~np.isin(subject, near))
    small = np.stack([cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for face in faces[kept]])
    print(f"{len(kept)} faces; {len(near)} people left out as near to LFW")
    held_out = subject[kept] >= len(people) * (1 - HELD_OUT)
    return InversionData(small.astype(np.uint8, copy=False), embeddings[kept], held_out)


@torch.no_grad()
def embedded(embedder: nn.Module, faces: Pixels, *, label: str) -> FloatArray:
    """Return n x 512 unit vectors as the site makes them: the mean over a face and its mirror image."""
    rows = []
    with Progress() as progress:
        for start in progress.track(range(0, len(faces), BATCH), description=label):
            batch = normalized(torch.from_numpy(faces[start : start + BATCH]), IMAGENET_MEAN, IMAGENET_STD)
            with torch.autocast("cpu", torch.bfloat16):
                both = (embedder(batch), embedder(batch.flip(3)))
            total = nn.functional.normalize(both[0].float()) + nn.functional.normalize(both[1].float())
            rows.append(nn.functional.normalize(total).numpy())
    return np.concatenate(rows)
