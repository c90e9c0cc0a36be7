"""The faces that the embedder learns from: read once from the archives, kept outside the repository.

People whom the evaluation photographs may show are left out: CelebA carries no names, so a person is dropped when any
of their faces is closer than `NEAR` to a face of LFW by the teacher's own measure.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn

from biometrics.alignment import align
from biometrics.capture import center_face
from biometrics.errors import UnusableFace
from biometrics.types import FloatArray, Pixels
from training.mobilefacenet import IMAGENET_MEAN, IMAGENET_STD, load_teacher
from training.pad_faces import build_detector

SIDE = 112
NEAR = 0.45
"""Cosine to an evaluation face from which a person is left out, and from which two unlabelled faces may be one
person's: a few in 100,000 comparisons of strangers reach it."""
DEFAULT_CACHE = Path("~/.cache/dwarpal/faces").expanduser()
BATCH = 128


@dataclass(frozen=True)
class FaceData:
    """n aligned faces with what is known of them.

    `pixels` n x 112 x 112 x 3 (read from disk as needed); `subject` a number for each person, each unlabelled face
    being a person of its own; `labelled` whether the person was named; `group` an index into `groups`, -1 where
    unknown; `teacher` n x 128 unit vectors, the teacher's mean over the face and its mirror image.
    """

    pixels: Pixels
    subject: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    group: NDArray[np.int64]
    groups: tuple[str, ...]
    teacher: FloatArray

    @property
    def n_subjects(self) -> int:
        """How many people, unlabelled faces counted as one each."""
        return int(self.subject.max()) + 1

    def centers(self) -> FloatArray:
        """Return each person's mean teacher embedding, n_subjects x 128 unit vectors."""
        sums = np.zeros((self.n_subjects, self.teacher.shape[1]), np.float32)
        np.add.at(sums, self.subject, self.teacher)
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

    def subset(self, subjects: int) -> FaceData:
        """Return the faces of the first `subjects` people: enough to try a run."""
        chosen = np.flatnonzero(self.subject < subjects)
        return FaceData(
            self.pixels[chosen],
            self.subject[chosen],
            self.labelled[chosen],
            self.group[chosen],
            self.groups,
            self.teacher[chosen],
        )


def load_faces(data: Path, cache: Path) -> FaceData:
    """Read `faces-train.zip`, `faces-unlabelled.zip`, `lfw-dev.zip` and `teacher/mobilefacenet.onnx` below `data`.

    The first call takes some minutes; the next ones read the cache, where nothing but training images lies.
    """
    if not (cache / "index.npz").exists():
        _prepare(data, cache)
    pixels = np.load(cache / "pixels.npy", mmap_mode="r")
    with np.load(cache / "index.npz") as index:
        return FaceData(
            pixels,
            index["subject"],
            index["labelled"],
            index["group"],
            tuple(index["groups"].tolist()),
            index["teacher"],
        )


def normalized(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn n x 112 x 112 x 3 uint8 into n x 3 x 112 x 112 network input, channels last in memory."""
    batch = pixels.permute(0, 3, 1, 2).float()
    return (batch - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@torch.no_grad()
def teacher_embeddings(teacher: nn.Module, pixels: Pixels, *, label: str = "teacher") -> FloatArray:
    """Return the teacher's unit vectors, the mean over each face and its mirror image."""
    rows = []
    with Progress() as progress:
        for start in progress.track(range(0, len(pixels), BATCH), description=label):
            batch = normalized(torch.from_numpy(np.array(pixels[start : start + BATCH])), IMAGENET_MEAN, IMAGENET_STD)
            both = nn.functional.normalize(teacher(batch)) + nn.functional.normalize(teacher(batch.flip(3)))
            rows.append(nn.functional.normalize(both).numpy())
    return np.concatenate(rows)


def people_near(faces: FloatArray, subjects: NDArray[np.int64], others: FloatArray) -> NDArray[np.int64]:
    """Return the people of whom any face (unit vectors) lies within `NEAR` of any of the others."""
    near = [np.max(faces[start : start + 4096] @ others.T, axis=1) > NEAR for start in range(0, len(faces), 4096)]
    return np.unique(subjects[np.concatenate(near)])


def _prepare(data: Path, cache: Path) -> None:
    """Read the archives, run the teacher, leave out people of the evaluation set, and write the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    named, unnamed = read_archive(data / "faces-train.zip"), read_archive(data / "faces-unlabelled.zip")
    pixels = np.concatenate([named[0], unnamed[0]])
    teacher = load_teacher(data / "teacher" / "mobilefacenet.onnx")
    embeddings = teacher_embeddings(teacher, pixels)
    people = {name: number for number, name in enumerate(dict.fromkeys(row["subject"] for row in named[1]))}
    subject = np.array([people[row["subject"]] for row in named[1]] + [-1] * len(unnamed[1]), np.int64)
    subject[len(named[1]) :] = len(people) + np.arange(len(unnamed[1]))
    groups = tuple(sorted({row["group"] for row in unnamed[1]}))
    group = np.array([-1] * len(named[1]) + [groups.index(row["group"]) for row in unnamed[1]], np.int64)
    dropped = people_near(embeddings, subject, teacher_embeddings(teacher, evaluation_faces(data / "lfw-dev.zip")))
    kept = np.flatnonzero(~np.isin(subject, dropped))
    _, renumbered = np.unique(subject[kept], return_inverse=True)
    np.save(cache / "pixels.npy", pixels[kept])
    np.savez(
        cache / "index.npz",
        subject=renumbered.astype(np.int64),
        labelled=kept < len(named[1]),
        group=group[kept],
        groups=np.array(groups),
        teacher=embeddings[kept],
    )
    print(f"{len(kept)} faces of {renumbered.max() + 1} people; left out as near to LFW: {len(dropped)} people")


def read_archive(archive: Path, *, without: str = "") -> tuple[Pixels, list[dict[str, str]]]:
    """Return every face of an archive, n x 112 x 112 x 3, and its lines of index.csv, but for the source `without`."""
    with zipfile.ZipFile(archive) as source:
        with source.open("index.csv") as stream:
            lines = list(csv.DictReader(io.TextIOWrapper(stream, "utf-8")))
        lines = [line for line in lines if not without or line["source"] != without]
        faces = np.empty((len(lines), SIDE, SIDE, 3), np.uint8)
        for number, line in enumerate(lines):
            faces[number] = _decode(source.read(line["path"]))
    return faces, lines


def evaluation_faces(archive: Path) -> Pixels:
    """Return the aligned faces nearest the center of LFW's photographs."""
    return np.stack(list(_aligned(archive)))


def _aligned(archive: Path) -> Iterator[Pixels]:
    detector = build_detector()
    with zipfile.ZipFile(archive) as source, Progress() as progress:
        names = [name for name in source.namelist() if name.endswith((".jpg", ".webp", ".png"))]
        for name in progress.track(names, description="evaluation faces"):
            image = _decode(source.read(name))
            try:
                yield align(image, center_face(detector.detect(image), image.shape).landmarks)
            except UnusableFace:
                continue


def _decode(content: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("an image of the archive cannot be read")
    return np.asarray(image, np.uint8)
