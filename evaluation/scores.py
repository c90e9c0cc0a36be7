"""Score files: what a comparison of pairs gave, with subjects, so that figures can be made again without any image.

For evaluation data only: a score of a traveller never leaves the system. Columns: `subject_a,subject_b,image_a,image_b,
same,fold,score,failure_a,failure_b`. The score is a similarity, empty where an image gave no embedding; `failure_a` and
`failure_b` then say which and why (`unreadable`, `without_face`). Files of other systems may leave these two out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.intervals import Floats
from evaluation.protocol import Pair, pair_of, rows_of, subjects, text_of
from evaluation.rates import REFUSED, VerificationScores
from evaluation.verification import pair_scores

COLUMNS = ("subject_a", "subject_b", "image_a", "image_b", "same", "fold", "score", "failure_a", "failure_b")
UNREADABLE = "unreadable"
WITHOUT_FACE = "without_face"


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Pairs with their scores (`REFUSED` after a failure to acquire), and the images that gave no embedding."""

    pairs: list[Pair]
    scores: Floats = field(repr=False)
    n_images: int
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]

    @property
    def n_failed(self) -> int:
        """How many distinct images gave no embedding."""
        return len(self.unreadable) + len(self.without_face)

    def table(self) -> VerificationScores:
        """Return the mated and non-mated scores, from which curves are drawn."""
        same = np.array([pair.same for pair in self.pairs], dtype=np.bool_)
        return VerificationScores(self.scores[same], self.scores[~same])


def score_pairs(pairs: Sequence[Pair], acquired: Acquired) -> ScoredPairs:
    """Compare each pair; `acquired` must have tried all of their images."""
    return ScoredPairs(
        list(pairs), pair_scores(pairs, acquired), acquired.n_images, acquired.unreadable, acquired.without_face
    )


def write_score_file(path: Path, scored: ScoredPairs) -> None:
    """Write a score file; raise `MalformedInput` if it cannot be written, or on contradicting subjects."""
    known = subjects(scored.pairs)
    why = dict.fromkeys(scored.unreadable, UNREADABLE) | dict.fromkeys(scored.without_face, WITHOUT_FACE)
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for pair, score in zip(scored.pairs, scored.scores, strict=True):
                # One subject without the other would not be read again.
                people = known.get(pair.image_a, ""), known.get(pair.image_b, "")
                shown = people if all(people) else ("", "")
                number = "" if score == REFUSED else repr(float(score))
                failures = why.get(pair.image_a, ""), why.get(pair.image_b, "")
                writer.writerow((*shown, pair.image_a, pair.image_b, int(pair.same), pair.fold, number, *failures))
    except OSError:
        raise MalformedInput("The score file cannot be written.") from None


def read_score_file(path: Path) -> ScoredPairs:
    """Read a score file; raise `MalformedInput` with the line number."""
    return parse_scores(text_of(path))


def parse_scores(text: str) -> ScoredPairs:
    """Parse a score file: `image_a,image_b,same,score`, all other columns optional.

    An image that has a score in no pair, and whose failure is not named, counts as one without a face.
    """
    optional = ("fold", "subject_a", "subject_b", "failure_a", "failure_b")
    pairs: list[Pair] = []
    scores: list[float] = []
    why: dict[str, str] = {}
    for line, cell in rows_of(text, ("image_a", "image_b", "same", "score"), optional):
        pair, score = pair_of(cell, line), _score(cell["score"], line)
        pairs.append(pair)
        scores.append(score)
        for image, failure in ((pair.image_a, cell["failure_a"]), (pair.image_b, cell["failure_b"])):
            if failure not in ("", UNREADABLE, WITHOUT_FACE):
                raise MalformedInput(f"Line {line}: a failure must be {UNREADABLE} or {WITHOUT_FACE}.")
            if failure and score != REFUSED:
                raise MalformedInput(f"Line {line}: there is a score in spite of a failure.")
            if failure and why.setdefault(image, failure) != failure:
                raise MalformedInput(f"Line {line}: one image is said to have failed in two ways.")
    images = list(dict.fromkeys(image for pair in pairs for image in (pair.image_a, pair.image_b)))
    scored = {
        image
        for pair, score in zip(pairs, scores, strict=True)
        if score != REFUSED
        for image in (pair.image_a, pair.image_b)
    }
    if why.keys() & scored:
        raise MalformedInput("One image has a score in one pair and a failure in another.")
    _name_the_others(pairs, scores, scored, why)
    return ScoredPairs(
        pairs,
        np.array(scores),
        len(images),
        tuple(image for image in images if why.get(image) == UNREADABLE),
        tuple(image for image in images if why.get(image) == WITHOUT_FACE),
    )


def _name_the_others(pairs: Sequence[Pair], scores: Sequence[float], scored: set[str], why: dict[str, str]) -> None:
    """Add the failures that no line names: in a pair without a score, the images that have one nowhere."""
    named = set(why)
    for pair, score in zip(pairs, scores, strict=True):
        both = {pair.image_a, pair.image_b}
        if score != REFUSED or both & named:
            continue
        if both <= scored:
            raise MalformedInput("A pair has no score, though both of its images have one in other pairs.")
        why.update(dict.fromkeys(both - scored, WITHOUT_FACE))


def _score(cell: str, line: int) -> float:
    """Return a finite score, or `REFUSED` for an empty cell."""
    if not cell:
        return REFUSED
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise MalformedInput(f"Line {line}: the score is not a number.")
    return score
