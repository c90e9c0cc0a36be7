"""What a thief makes of stolen templates with a decoder: faces, embedded again and compared as a gate compares.

Success after Mai, Cao, Yuen and Jain, "On the Reconstruction of Face Images from Deep Face Templates", IEEE TPAMI
41(5), 2018: type I against the photograph that the template came from, type II against another one of that person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from biometrics.alignment import ALIGNED_SIZE
from biometrics.embedding import unit_rows
from biometrics.errors import MalformedInput, ModelUnusable
from biometrics.ports import Network
from biometrics.records import TravelToken, new_id
from biometrics.types import EMBEDDING_SIZE, FloatArray, Pixels, Template
from evaluation.acquisition import Acquired, BatchEmbedder
from evaluation.attack_success import Success, success_of
from evaluation.protocol import Pair, subjects
from evaluation.unlinkability import SEED, rotation_from_pairs
from infra.gallery import random_rotation
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer

BATCH = 64
KNOWN_PAIRS = 256
"""Photographs of a gallery's travellers that a thief has, to undo its rotation with."""
EPOCH = 490_000
NETWORK = "0" * 64
TEMPLATE_BYTES = 2 * EMBEDDING_SIZE
TAG = 16


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What was stolen and which decoder read it; how often the picture passes for its person."""

    stolen: str
    decoder: str
    type_1: Success
    type_2: Success


@dataclass(frozen=True, slots=True)
class Decoders:
    """The thief's tools: a decoder of plain templates, and one of a gallery's rows with that gallery's rotation."""

    plain: Network
    rotated: Network | None = None
    rotation: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class InversionReport:
    """Every reconstruction; how often the true photograph matches the other one; the threshold."""

    rows: tuple[Reconstruction, ...]
    genuine: Success
    threshold: float

    def as_json(self) -> dict[str, object]:
        """Return all figures."""
        return asdict(self)


class _Thief:
    """Paints faces, and counts how many pass."""

    def __init__(self, embedder: BatchEmbedder, x: FloatArray, other: FloatArray, people: list[str], at: float) -> None:
        self._embedder, self._x, self._other, self._people, self._at = embedder, x, other, people, at

    def tried(self, stolen: str, by: str, pictures: list[Pixels], part: slice = slice(None)) -> Reconstruction:
        """Count successes of one picture for each template of a part."""
        again = self._embedder.embed_many(pictures)
        people = self._people[part]
        one, two = (
            success_of(np.einsum("ij,ij->i", again, against[part]) >= self._at, people)
            for against in (self._x, self._other)
        )
        return Reconstruction(stolen, by, one, two)


def measure_inversion(
    pairs: Sequence[Pair], acquired: Acquired, embedder: BatchEmbedder, decoders: Decoders, *, threshold: float
) -> InversionReport:
    """Steal the template of each mated pair's first photograph, and try its picture against both.

    Raises `MalformedInput` without mated pairs of two people, `ModelUnusable` if a decoder is none.
    """
    usable = [pair for pair in pairs if pair.same and {pair.image_a, pair.image_b} <= acquired.rows.keys()]
    subject = subjects(usable)
    usable = [usable[i] for i in np.random.default_rng(SEED).permutation(len(usable))]
    people = [subject.get(pair.image_a, pair.image_a) for pair in usable]
    if len(set(people)) < 2:
        raise MalformedInput("Pairs of photographs of several people are needed.", code="no_pairs")
    x, other = (acquired.embeddings[[acquired.rows[name] for name in names]] for names in _sides(usable))
    thief = _Thief(embedder, x, other, people, threshold)
    rotation, plain = random_rotation(), decoders.plain
    faces = reconstructed(plain, x)
    mean = np.mean(faces, axis=0).round().astype(np.uint8)
    rows = [
        thief.tried("nothing", "the mean of all reconstructed faces", [mean] * len(x)),
        thief.tried("another person's, plain", "of plain templates", [faces[i] for i in _somebody_else(people)]),
        thief.tried("plain", "of plain templates", faces),
        thief.tried("rotated", "of plain templates", reconstructed(plain, x @ rotation)),
    ]
    if decoders.rotated is not None and decoders.rotation is not None:
        by = "of another gallery's rotated templates"
        rows.append(thief.tried("rotated", by, reconstructed(decoders.rotated, x @ rotation)))
        by = "of this very gallery's rotated templates"
        rows.append(thief.tried("rotated", by, reconstructed(decoders.rotated, x @ decoders.rotation)))
    known = min(KNOWN_PAIRS, len(x) // 2)
    rest = np.array([i >= known and person not in set(people[:known]) for i, person in enumerate(people)])
    if rest.any():
        back = rotation_from_pairs(x[:known] @ rotation, other[:known])
        order = np.flatnonzero(rest)
        undone = _Thief(embedder, x[order], other[order], [people[i] for i in order], threshold)
        by = f"of plain templates, rotation undone with {known} photographs"
        rows.append(
            undone.tried("rotated", by, reconstructed(plain, np.asarray(x[order] @ rotation @ back, np.float32)))
        )
    rows.append(thief.tried("sealed", "of plain templates", reconstructed(plain, sealed_as_numbers(x))))
    genuine = success_of(np.einsum("ij,ij->i", x, other) >= threshold, people)
    return InversionReport(tuple(rows), genuine, threshold)


def _sides(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [pair.image_a for pair in pairs], [pair.image_b for pair in pairs]


def _somebody_else(people: list[str]) -> list[int]:
    """Return for each row the next one that shows somebody else."""
    n = len(people)
    return [next(j % n for j in range(i + 1, i + n) if people[j % n] != people[i]) for i in range(n)]


def reconstructed(decoder: Network, templates: FloatArray) -> list[Pixels]:
    """Return the n aligned faces, 112 x 112 RGB, that a decoder makes of n x 512 numbers; raise `ModelUnusable`."""
    faces: list[Pixels] = []
    for start in range(0, len(templates), BATCH):
        [*outputs] = decoder.run(np.ascontiguousarray(templates[start : start + BATCH], np.float32))
        if len(outputs) != 1 or outputs[0].shape[1:] != (3, ALIGNED_SIZE, ALIGNED_SIZE):
            raise ModelUnusable("This is no decoder: it makes no aligned faces.")
        faces += list(outputs[0].transpose(0, 2, 3, 1).clip(0, 255).round().astype(np.uint8))
    return faces


def sealed_as_numbers(templates: FloatArray) -> FloatArray:
    """Return what a thief reads in the envelopes of n templates: ciphertext, taken for 512 numbers of unit length."""
    with TemporaryDirectory(prefix="dwarpal-keys-") as folder:
        sealer = EnvelopeSealer(FileKeyStore(Path(folder) / "keys", passphrase=None), "measured")
        ciphertexts = []
        for row in templates:
            with Template(row.copy()) as template:
                token = TravelToken.new(new_id())
                sealed = sealer.seal(template, token=token, epoch=EPOCH, model_digest=NETWORK, for_gallery=False)
            ciphertexts.append(np.frombuffer(sealed.envelope[-TAG - TEMPLATE_BYTES : -TAG], "<u2"))
    return unit_rows(np.array(ciphertexts).astype(np.float32) - np.float32((2**16 - 1) / 2))
