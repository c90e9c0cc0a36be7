"""From the photographs of a protocol to embeddings: each distinct image once, failures counted and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from biometrics.alignment import ALIGNED_SIZE, align
from biometrics.capture import center_face, largest_face, only_face
from biometrics.errors import MalformedInput, TooLarge, UnsupportedImage, UnusableFace
from biometrics.ports import FaceDetector
from biometrics.types import EMBEDDING_SIZE, Face, FloatArray, Pixels
from evaluation.protocol import FacePolicy

BATCH = 64
"""Aligned faces that wait for the embedder, which bounds memory."""

UNREADABLE = (MalformedInput, TooLarge, UnsupportedImage)
"""What a missing, broken, oversized or foreign file raises."""

LoadImage = Callable[[str], Pixels]
"""Reads and decodes the image of a name; raises one of `UNREADABLE`."""


Progress = Callable[[int, int], None]
"""Is told (done, all) after each image."""


def silent(done: int, total: int) -> None:
    """Ignore progress."""


class BatchEmbedder(Protocol):
    """Embeds many aligned faces at once. An evaluation takes vectors of any length: teachers and peers have others."""

    def embed_many(self, aligned: Sequence[Pixels]) -> FloatArray:
        """Embed n aligned 112 x 112 x 3 faces as n x d unit vectors."""
        ...


@dataclass(frozen=True, slots=True)
class Acquired:
    """Embeddings (n x d) with the row of each image that has one, and the images that have none.

    `faces` holds the face that was found in each of them; it is empty where aligned faces were given. `unreadable`
    could not be read or decoded; `without_face` could, but gave no face that the policy accepts. Both are failures to
    acquire.
    """

    embeddings: FloatArray = field(repr=False)
    rows: dict[str, int] = field(repr=False)
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]
    faces: dict[str, Face] = field(default_factory=dict, repr=False)

    @property
    def n_images(self) -> int:
        """How many distinct images were tried."""
        return len(self.rows) + self.n_failed

    @property
    def n_failed(self) -> int:
        """How many of them gave no embedding."""
        return len(self.unreadable) + len(self.without_face)


def acquire_all(
    names: Iterable[str],
    load: LoadImage,
    *,
    detector: FaceDetector,
    embedder: BatchEmbedder,
    face: FacePolicy = FacePolicy.CENTER,
    progress: Progress = silent,
) -> Acquired:
    """Run each distinct image through detection, alignment and embedding.

    Bad files are named in the result and never stop the run. Raises `MalformedInput` if not one file can be read.
    """
    faces: dict[str, Face] = {}

    def aligned(name: str) -> Pixels:
        image = load(name)
        faces[name] = subject_face(face, detector.detect(image), image)
        return align(image, faces[name].landmarks)

    return replace(acquire_aligned(names, aligned, embedder=embedder, progress=progress), faces=faces)


def acquire_aligned(
    names: Iterable[str], load: LoadImage, *, embedder: BatchEmbedder, progress: Progress = silent
) -> Acquired:
    """Embed each distinct image, which `load` returns as an aligned 112 x 112 x 3 face.

    Bad files are named in the result and never stop the run. Raises `MalformedInput` if not one file can be read.
    """
    rows: dict[str, int] = {}
    parts: list[FloatArray] = []
    waiting: list[Pixels] = []
    unreadable: list[str] = []
    without_face: list[str] = []
    distinct = list(dict.fromkeys(names))
    for number, name in enumerate(distinct, 1):
        try:
            waiting.append(load(name))
            rows[name] = len(rows)
        except UNREADABLE:
            unreadable.append(name)
        except UnusableFace:
            without_face.append(name)
        if len(waiting) == BATCH:
            parts.append(embedder.embed_many(waiting))
            waiting.clear()
        progress(number, len(distinct))
    if unreadable and not rows and not without_face:
        raise MalformedInput("Not one of the images can be read: is this their folder?")
    if waiting:
        parts.append(embedder.embed_many(waiting))
    embeddings = np.concatenate(parts) if parts else np.empty((0, EMBEDDING_SIZE), np.float32)
    return Acquired(embeddings, rows, tuple(unreadable), tuple(without_face))


def only_aligned(load: LoadImage) -> LoadImage:
    """Return what loads an aligned face and raises `UnusableFace` on an image of any other size than 112 x 112."""

    def loaded(name: str) -> Pixels:
        image = load(name)
        if image.shape != (ALIGNED_SIZE, ALIGNED_SIZE, 3):
            raise UnusableFace("This is not an aligned face.")
        return image

    return loaded


def subject_face(policy: FacePolicy, faces: Sequence[Face], image: Pixels) -> Face:
    """Return the subject's face; raise `UnusableFace` if there is none, or, for `only`, more than one."""
    match policy:
        case FacePolicy.CENTER:
            return center_face(faces, image.shape)
        case FacePolicy.LARGEST:
            return largest_face(faces)
        case FacePolicy.ONLY:
            return only_face(faces)
