"""Whether two protected templates tell that they are of one person: unlinkability, and how a rotation falls.

The measures D(s) and D_sys are those of Gomez-Barrero, Galbally, Rathgeb and Busch, "General Framework to Evaluate
Unlinkability in Biometric Template Protection Systems", IEEE TIFS 13(6), 2018, with omega = 1 and histograms as in the
authors' reference implementation: 0 is unlinkable, 1 is fully linkable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from biometrics.types import FloatArray
from evaluation.intervals import Floats

MOST_BINS = 100
SCORES_PER_BIN = 10
SHUFFLES = 500
SEED = 24745  # of ISO/IEC 24745


@dataclass(frozen=True, slots=True)
class LocalLinkability:
    """Histograms of mated and non-mated scores over shared `edges`, as densities, and D(s) of each bin."""

    edges: Floats = field(repr=False)
    mated: Floats = field(repr=False)
    non_mated: Floats = field(repr=False)
    local: Floats = field(repr=False)

    @property
    def d_sys(self) -> float:
        """The mean of D(s) over mated scores."""
        return float((self.local * self.mated * np.diff(self.edges)).sum())


@dataclass(frozen=True, slots=True)
class Unlinkability:
    """D_sys, and what chance alone gives: the mean and the 95th percentile of D_sys with shuffled labels.

    Histograms of finitely many scores never agree, so D_sys is never quite 0. No interval stands beside it: drawing
    scores again with replacement makes histograms rougher, and D_sys larger than it is.
    """

    d_sys: float
    shuffled: float
    shuffled_p95: float
    n_mated: int
    n_non_mated: int
    histogram: LocalLinkability = field(repr=False)


def local_linkability(mated: Floats, non_mated: Floats) -> LocalLinkability:
    """Compare the distributions of mated and non-mated scores.

    D(s) = 2 LR / (1 + LR) - 1 where the likelihood ratio LR(s) = p(s | mated) / p(s | non-mated) exceeds 1, else 0.
    Raises `ValueError` without scores of both kinds.
    """
    if not len(mated) or not len(non_mated):
        raise ValueError("mated and non-mated scores are needed")
    bins = int(np.clip(min(len(mated), len(non_mated)) // SCORES_PER_BIN, 2, MOST_BINS))
    edges = np.histogram_bin_edges(np.concatenate([mated, non_mated]), bins)
    p, q = (np.histogram(scores, edges, density=True)[0] for scores in (mated, non_mated))
    local = np.where(p > q, (p - q) / np.maximum(p + q, np.finfo(np.float64).tiny), 0.0)
    return LocalLinkability(edges, p, q, local)


def unlinkability(mated: Floats, non_mated: Floats) -> Unlinkability:
    """Measure D_sys of scores."""
    rng, together, floors = np.random.default_rng(SEED), np.concatenate([mated, non_mated]), []
    for _ in range(SHUFFLES):
        rng.shuffle(together)
        floors.append(local_linkability(together[: len(mated)], together[len(mated) :]).d_sys)
    found = local_linkability(mated, non_mated)
    floor, high = float(np.mean(floors)), float(np.quantile(floors, 0.95))
    return Unlinkability(found.d_sys, floor, high, len(mated), len(non_mated), found)


def rotation_from_pairs(plain: FloatArray, rotated: FloatArray) -> FloatArray:
    """Return the orthogonal d x d matrix that best turns n x d templates into what somebody else holds of them.

    Schoenemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966.
    """
    u, _, vt = np.linalg.svd(plain.astype(np.float64).T @ rotated.astype(np.float64))
    return np.asarray(u @ vt, np.float32)


def linked_after(
    known: tuple[FloatArray, FloatArray], targets: tuple[FloatArray, FloatArray], *, pairs: Sequence[int], at: float
) -> list[float]:
    """Return, for so many known pairs each, the share of target pairs that match at a threshold once turned back.

    `known` and `targets` are (plain, rotated) templates of the same people, row by row; a target's plain template is
    another photograph's, so that 1 - FNMR is the most that can be had.
    """
    shares = []
    for count in pairs:
        back = rotation_from_pairs(known[0][:count], known[1][:count])
        scores = np.einsum("ij,ij->i", targets[0] @ back, targets[1])
        shares.append(float((scores >= at).mean()))
    return shares
