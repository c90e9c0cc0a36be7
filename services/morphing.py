"""How often a morph passes for both people whom it was made of, each at a gate with a photograph of today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from biometrics.errors import MalformedInput
from biometrics.types import FloatArray
from evaluation.acquisition import Acquired, BatchEmbedder, LoadImage, Progress, silent
from evaluation.attack_success import Success, success_of
from evaluation.morphing import look_alikes, morph
from evaluation.protocol import Pair, subjects
from evaluation.unlinkability import SEED


@dataclass(frozen=True, slots=True)
class Morphs:
    """Pairs of people, how alike they are, and what their morphs do.

    `both` is MMPMR, the share of morphs that match both contributors; `without` the share in which the first one's own
    photograph does, no morph needed; `each` the share of contributors matched.
    """

    pairs: str
    mean_cosine: float
    both: Success
    each: Success
    without: Success


@dataclass(frozen=True, slots=True)
class MorphingReport:
    """The look-alikes' morphs and those of random pairs; `genuine` is the share of people who match themselves."""

    rows: tuple[Morphs, ...]
    genuine: Success
    threshold: float

    def as_json(self) -> dict[str, object]:
        """Return all figures; RMMR is MMPMR beside what the same people reach without any attack."""
        rmmr = {row.pairs: 1 + row.both.rate - self.genuine.rate for row in self.rows}
        return {**asdict(self), "rmmr": rmmr}


def measure_morphing(
    pairs: Sequence[Pair],
    acquired: Acquired,
    load: LoadImage,
    embedder: BatchEmbedder,
    *,
    threshold: float,
    morphs: int,
    progress: Progress = silent,
) -> MorphingReport:
    """Morph photographs of up to `morphs` pairs of people and compare with another photograph of each.

    Raises `MalformedInput` without mated pairs of two people.
    """
    subject = subjects(pairs)
    person: dict[str, Pair] = {}
    for pair in pairs:
        if pair.same and {pair.image_a, pair.image_b} <= acquired.rows.keys():
            person.setdefault(subject.get(pair.image_a, pair.image_a), pair)
    people = sorted(person)
    if len(people) < 2:
        raise MalformedInput("Mated pairs of at least two people are needed.", code="no_pairs")
    photographs = [person[name].image_a for name in people]
    own = acquired.embeddings[[acquired.rows[name] for name in photographs]]
    today = acquired.embeddings[[acquired.rows[person[name].image_b] for name in people]]
    shuffled = np.random.default_rng(SEED).permutation(len(people))[: len(people) // 2 * 2].reshape(-1, 2)
    chosen = {
        "look-alikes": look_alikes(own, people, morphs),
        "random": [(int(a), int(b)) for a, b in shuffled[:morphs]],
    }
    total = sum(map(len, chosen.values()))
    rows: list[Morphs] = []
    done = 0
    for what, couples in chosen.items():
        made = []
        for a, b in couples:
            first, second = ((load(name), acquired.faces[name].landmarks) for name in (photographs[a], photographs[b]))
            made.append(morph(first, second))
            done += 1
            progress(done, total)
        rows.append(_counted(what, couples, embedder.embed_many(made), own, today, threshold))
    genuine = success_of(np.einsum("ij,ij->i", own, today) >= threshold, people)
    return MorphingReport(tuple(rows), genuine, threshold)


def _counted(
    what: str, couples: list[tuple[int, int]], made: FloatArray, own: FloatArray, today: FloatArray, threshold: float
) -> Morphs:
    a, b = np.array(couples).T
    scores = np.stack([np.einsum("ij,ij->i", made, today[side]) for side in (a, b)], axis=1)
    zero_effort = np.stack([np.einsum("ij,ij->i", own[a], today[side]) for side in (a, b)], axis=1)
    units = [str(number) for number in range(len(couples))]
    return Morphs(
        what,
        float(np.einsum("ij,ij->i", own[a], own[b]).mean()),
        success_of(scores.min(axis=1) >= threshold, units),
        success_of((scores >= threshold).ravel(), np.repeat(units, 2).tolist()),
        success_of(zero_effort.min(axis=1) >= threshold, units),
    )
