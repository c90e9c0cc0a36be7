"""Turns aligned faces into templates with an ArcFace-trained network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from biometrics.card import ModelCard
from biometrics.errors import ModelUnusable
from biometrics.ports import Network
from biometrics.types import EMBEDDING_SIZE, FloatArray, Pixels, Template

BATCH = 32
"""Faces in one run of the network, mirrored ones not counted."""


class ArcFaceEmbedder:
    """A `FaceEmbedder`: 112 x 112 aligned faces to 512-D unit vectors.

    With `flip` the embedding is the unit-length mean of the face's and its mirror image's: twice the work, a
    little more accurate. The digest is the network's alone: vectors with and without flip lie in one space,
    close to each other, but a site should not change the setting while templates are alive, because
    thresholds were measured with it.
    """

    def __init__(self, network: Network, card: ModelCard, *, flip: bool) -> None:
        if card.task != "embedder":
            raise ModelUnusable(f"The network {card.name} is not an embedder.")
        self._network = network
        self._card = card
        self._flip = flip
        self._mean = np.array(card.input.mean, np.float32)[:, None, None]
        self._std = np.array(card.input.std, np.float32)[:, None, None]

    @property
    def card(self) -> ModelCard:
        """The card of the network."""
        return self._card

    @property
    def model_digest(self) -> str:
        """SHA-256 of the network, in hexadecimal."""
        return self._card.sha256

    @property
    def provider_name(self) -> str:
        """What runs the network."""
        return self._network.provider_name

    def embed(self, aligned: Pixels) -> Template:
        """Embed one aligned face; raise `ModelUnusable` if the network returns no 512-D direction."""
        return Template(self.embed_many([aligned])[0])

    def embed_many(self, aligned: Sequence[Pixels]) -> FloatArray:
        """Embed n aligned faces as n x 512 unit vectors, in batches."""
        rows = [self._embed_batch(aligned[i : i + BATCH]) for i in range(0, len(aligned), BATCH)]
        return np.concatenate(rows) if rows else np.empty((0, EMBEDDING_SIZE), np.float32)

    def _embed_batch(self, aligned: Sequence[Pixels]) -> FloatArray:
        size = self._card.input.size
        if any(face.shape != (size, size, 3) for face in aligned):
            raise ValueError(f"an aligned face is {size} x {size} x 3")
        batch = (np.stack(aligned).transpose(0, 3, 1, 2).astype(np.float32) - self._mean) / self._std
        if self._flip:
            batch = np.concatenate((batch, batch[..., ::-1]))
        vectors = self._network.run(np.ascontiguousarray(batch))[0]
        batch.fill(0.0)
        if vectors.shape != (len(batch), EMBEDDING_SIZE):
            raise ModelUnusable(f"The network {self._card.name} does not return {EMBEDDING_SIZE} numbers.")
        vectors = unit_rows(vectors)
        return unit_rows(vectors[: len(aligned)] + vectors[len(aligned) :]) if self._flip else vectors


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Scale each row to unit length; raise `ModelUnusable` if a row is zero or not finite."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths < 1e-6):
        raise ModelUnusable("The network returned a vector without a direction.")
    return np.asarray(vectors / lengths, np.float32)
