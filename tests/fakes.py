"""Fakes at the Protocol seams: one for each Protocol, real in behavior, without disk, clock or network."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from biometrics.errors import KeyDestroyed
from biometrics.records import epoch_end
from biometrics.types import EMBEDDING_SIZE, Face, FloatArray, Pixels, Template
from liveness.pad import PadAssessment


class FakeClock:
    """A `Clock` that stands still until a test moves it."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


class FakeKeyStore:
    """A `KeyStore` in memory."""

    def __init__(self) -> None:
        self.keys: dict[int, tuple[bytes, bytes]] = {}
        self.destroyed: set[int] = set()
        self.unconfirmed: set[int] = set()
        self._signing_key = Ed25519PrivateKey.generate()

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._pair(epoch, create)[0]

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._pair(epoch, create)[1]

    def signing_key(self) -> Ed25519PrivateKey:
        return self._signing_key

    def ended_epochs(self, now: datetime) -> list[int]:
        return sorted(epoch for epoch in self.keys.keys() | self.unconfirmed if epoch_end(epoch) <= now)

    def destroy_epoch(self, epoch: int) -> None:
        if self.keys.pop(epoch, None) is not None:
            self.unconfirmed.add(epoch)
        self.destroyed.add(epoch)

    def confirm_destroyed(self, epoch: int) -> None:
        self.unconfirmed.discard(epoch)

    def _pair(self, epoch: int, create: bool) -> tuple[bytes, bytes]:
        if epoch in self.destroyed or (epoch not in self.keys and not create):
            raise KeyDestroyed("This epoch is over.")
        return self.keys.setdefault(epoch, (secrets.token_bytes(32), secrets.token_bytes(32)))


class FakeNetwork:
    """A `Network` that returns what a function makes of the batch, and remembers the batches' shapes."""

    provider_name = "fake"

    def __init__(self, answer: Callable[[FloatArray], list[FloatArray]]) -> None:
        self._answer = answer
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: FloatArray) -> list[FloatArray]:
        self.shapes.append(batch.shape)
        return self._answer(batch)


class FakeFaceDetector:
    """A `FaceDetector` that finds the same faces in every image."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: Pixels) -> list[Face]:
        return list(self.faces)


class FakeFaceEmbedder:
    """A `FaceEmbedder` whose template depends on the mean color of each of 8 x 8 fields, and on nothing else."""

    model_digest = "f" * 64

    def embed(self, aligned: Pixels) -> Template:
        fields = aligned.reshape(8, 14, 8, 14, 3).mean(axis=(1, 3)).ravel() - 127.5
        vector = np.zeros(EMBEDDING_SIZE, np.float32)
        vector[: fields.size] = fields
        vector[-1] = 1.0
        return Template(vector / np.linalg.norm(vector))

    def embed_many(self, aligned: Sequence[Pixels]) -> FloatArray:
        return np.stack([self.embed(face).vector for face in aligned])


class FakePadDetector:
    """A `PadDetector` to whom the brighter half of all images is alive; the score is the mean brightness, 0-1."""

    model_digest = "e" * 64

    def assess(self, image: Pixels, face: Face) -> PadAssessment:
        score = float(image.mean()) / 255
        return PadAssessment(score >= 0.5, score)
