"""Templates as two galleries or two databases of this site would hold them, and what a thief of both can link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from biometrics.errors import MalformedInput
from biometrics.records import TravelToken, new_id
from biometrics.types import FloatArray, Template
from evaluation.acquisition import Acquired
from evaluation.intervals import Floats
from evaluation.protocol import Pair
from evaluation.unlinkability import SEED, Unlinkability, linked_after, local_linkability, unlinkability
from infra.gallery import random_rotation
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer

DRAWS = 20
KNOWN_PAIRS = (32, 64, 96, 128, 192, 256, 384, 512, 768)
EPOCHS = (490_000, 490_024)  # two hours on two days: any two will do
NETWORK = "0" * 64
MIDDLE_BYTE = 127.5

PLAIN = "plain"
ONE_ROTATION = "one rotation for both"
OWN_ROTATION = "a rotation for each gallery"
SAME_CAPTURE = "a rotation for each gallery, same template twice"
SEALED = "sealed, same template twice"


@dataclass(frozen=True, slots=True)
class KnownPairs:
    """The share of other travellers whom a thief recognizes who knows so many plain templates of a gallery's rows."""

    pairs: int
    exact: float
    other: float


@dataclass(frozen=True, slots=True)
class UnlinkabilityReport:
    """Each protection's D_sys; D_sys of `SAME_CAPTURE` with rotations drawn anew, ascending; how a rotation falls.

    `most` is the share of the `n_targets` that a thief would recognize without any rotation.
    """

    protections: dict[str, Unlinkability]
    draws: tuple[float, ...]
    known_pairs: tuple[KnownPairs, ...]
    n_targets: int
    most: float

    def as_json(self) -> dict[str, object]:
        """Return everything but the histograms, which hold many scores."""
        protections = {
            name: {key: value for key, value in asdict(of).items() if key != "histogram"}
            for name, of in self.protections.items()
        }
        return {
            "protections": protections,
            "draws": list(self.draws),
            "known_pairs": [asdict(row) for row in self.known_pairs],
            "n_targets": self.n_targets,
            "recognized_without_rotation": self.most,
        }


@dataclass(frozen=True, slots=True)
class _Rows:
    """Pairs of photographs as rows: mated ones `a`, `b` of one person each, non-mated ones `c`, `d`."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray


Protect = Callable[[FloatArray], FloatArray]


def measure_unlinkability(pairs: Sequence[Pair], acquired: Acquired, *, threshold: float) -> UnlinkabilityReport:
    """Measure every protection; `threshold` is the cosine from which a thief takes two templates for one person's.

    Raises `MalformedInput` without pairs of both kinds whose photographs show a face.
    """
    rows = _rows(pairs, acquired)

    def own() -> tuple[Protect, Protect]:
        first, second = random_rotation(), random_rotation()
        return lambda x: x @ first, lambda x: x @ second

    one = random_rotation()
    protections = {
        PLAIN: _measured(rows, (lambda x: x, lambda x: x)),
        ONE_ROTATION: _measured(rows, (lambda x: x @ one, lambda x: x @ one)),
        OWN_ROTATION: _measured(rows, own()),
        SAME_CAPTURE: _measured(rows, own(), same_capture=True),
    }
    with _sealed_twice() as ciphers:
        protections[SEALED] = _measured(rows, ciphers, same_capture=True)
    draws = sorted(local_linkability(*_scores(rows, own(), same_capture=True)).d_sys for _ in range(DRAWS))
    return UnlinkabilityReport(protections, tuple(draws), *_known_pairs(rows, threshold))


def _rows(pairs: Sequence[Pair], acquired: Acquired) -> _Rows:
    usable = [pair for pair in pairs if {pair.image_a, pair.image_b} <= acquired.rows.keys()]
    mated, others = ([pair for pair in usable if pair.same is same] for same in (True, False))
    if not mated or not others:
        raise MalformedInput("Pairs of the same and of different people are needed.", code="no_pairs")

    def embedded(images: Iterable[str]) -> FloatArray:
        return acquired.embeddings[[acquired.rows[image] for image in images]]

    return _Rows(
        embedded(pair.image_a for pair in mated),
        embedded(pair.image_b for pair in mated),
        embedded(pair.image_a for pair in others),
        embedded(pair.image_b for pair in others),
    )


def _scores(rows: _Rows, protect: tuple[Protect, Protect], *, same_capture: bool = False) -> tuple[Floats, Floats]:
    first, second = protect

    def cosines(x: FloatArray, y: FloatArray) -> Floats:
        x, y = first(x), second(y)
        lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        found: Floats = np.einsum("ij,ij->i", x, y, dtype=np.float64) / lengths
        return found

    return cosines(rows.a, rows.a if same_capture else rows.b), cosines(rows.c, rows.d)


def _measured(rows: _Rows, protect: tuple[Protect, Protect], *, same_capture: bool = False) -> Unlinkability:
    return unlinkability(*_scores(rows, protect, same_capture=same_capture))


@contextmanager
def _sealed_twice() -> Iterator[tuple[Protect, Protect]]:
    """What a database holds: bytes of an envelope, taken for numbers, for lack of anything better to compare."""
    with TemporaryDirectory(prefix="dwarpal-keys-") as folder:
        sealer = EnvelopeSealer(FileKeyStore(Path(folder) / "keys", passphrase=None), "measured")

        def protect(templates: FloatArray, epoch: int) -> FloatArray:
            envelopes = []
            for row in templates:
                with Template(row.copy()) as template:
                    token = TravelToken.new(new_id())
                    sealed = sealer.seal(template, token=token, epoch=epoch, model_digest=NETWORK, for_gallery=False)
                envelopes.append(np.frombuffer(sealed.envelope, np.uint8))
            return np.array(envelopes).astype(np.float32) - MIDDLE_BYTE

        yield partial(protect, epoch=EPOCHS[0]), partial(protect, epoch=EPOCHS[1])


def _known_pairs(rows: _Rows, threshold: float) -> tuple[tuple[KnownPairs, ...], int, float]:
    """Let a thief know the plain templates of part of a gallery's rows, exactly or from another photograph."""
    order = np.random.default_rng(SEED).permutation(len(rows.a))
    a, b, rotation = rows.a[order], rows.b[order], random_rotation()
    known = min(max(KNOWN_PAIRS), len(a) * 2 // 3)
    counts = [count for count in KNOWN_PAIRS if count <= known]
    targets = (a[known:], b[known:] @ rotation)  # the thief has one photograph, the gallery another one's template
    exact = linked_after((b[:known], b[:known] @ rotation), targets, pairs=counts, at=threshold)
    other = linked_after((a[:known], b[:known] @ rotation), targets, pairs=counts, at=threshold)
    most = float((np.einsum("ij,ij->i", a[known:], b[known:]) >= threshold).mean())
    return tuple(KnownPairs(*row) for row in zip(counts, exact, other, strict=True)), len(a) - known, most
