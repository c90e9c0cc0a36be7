"""The operating points that a sample of comparisons supports: thresholds for false-match rates, and no more than that.

A threshold for a rate is claimed under the rules of ISO/IEC 19795-1, annex B:

1. Rule of 3. Fewer than 3 / rate comparisons of different people: refused, since even a run without any error would
   not show the rate (at 95 % confidence). Comparing the same two people again is no new evidence, so that pairs of
   people are counted, not comparisons.
2. Rule of 30. With 30 errors or more the measured rate is within 30 % of the true one (at 90 % confidence), and the
   threshold is the smallest at which the measured rate is at most the one declared.
3. With fewer errors the threshold is the smallest at which the upper confidence bound (one-sided, 95 %) of the rate is
   at most the one declared: the larger of the exact binomial bound and of the bootstrap over people.

Rules 1 and 2 and the exact bound take comparisons as independent, which those that share a person are not; the
bootstrap over people (Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems", 2004) does not.
Nothing is ever extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

import numpy as np

from biometrics.comparison import identification_rate
from biometrics.errors import SampleTooSmall
from evaluation.comparisons import Comparisons
from evaluation.intervals import Floats, Interval, Weights, bootstrap, clopper_pearson
from evaluation.rates import Support

CONFIDENCE = 0.9
"""Of two-sided intervals; the upper end of each is a one-sided bound at 95 %."""

ENOUGH_ERRORS = 30
RATES = tuple(float(f"{digit}e-{power}") for power in range(2, 9) for digit in (5, 2, 1))
"""The false-match rates at which points are measured besides the declared ones, as far as the sample goes."""

MOST_KEPT = 200_000
"""Non-mated scores from which points are drawn; rates above that are left out, unless declared."""

_STEP = 1e-6


class Basis(StrEnum):
    """What a threshold was set from."""

    MEASURED = "measured_rate"
    UPPER_BOUND = "upper_confidence_bound"


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """A false-match rate, its threshold (rounded up to six decimals), and what happened there in the sample.

    `exact` is the Clopper-Pearson interval of the FMR, `by_subject` the bootstrap's (None where undefined), both
    two-sided at `CONFIDENCE`.
    """

    rate: float
    threshold: float
    false_matches: int
    false_non_matches: int
    support: Support
    basis: Basis
    exact: Interval
    by_subject: Interval | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a site declares: an FMR (1:1), and where it recognizes without a token an FPIR in galleries up to a size."""

    fmr: float
    fpir: float | None = None
    gallery_size: int | None = None

    def rates(self) -> tuple[float, ...]:
        """Return the false-match rates that comparisons may have: one for 1:1, and the one that 1:N leads to."""
        if self.fpir is None or self.gallery_size is None:
            return (self.fmr,)
        return self.fmr, identification_rate(self.fpir, self.gallery_size)

    def require_sample(self, pairs: int) -> None:
        """Raise `SampleTooSmall`, saying what they would carry, if so many pairs of people do not support this."""
        require_sample(pairs, self.fmr)
        if self.fpir is None or self.gallery_size is None:
            return
        try:
            require_sample(pairs, self.rates()[1])
        except SampleTooSmall as error:
            size = largest_gallery(self.fpir, pairs)
            raise SampleTooSmall(
                f"An FPIR of {self.fpir:g} in a gallery of {self.gallery_size:,} leaves each comparison a false-match "
                f"rate of {self.rates()[1]:.3g}. {error.detail} "
                + (f"It would do for galleries of up to {size:,}." if size else "It would do for no gallery."),
                needed=error.needed,
                smallest_rate=error.smallest_rate,
            ) from None


def largest_gallery(fpir: float, pairs: int) -> int:
    """Return how many templates a gallery may have so that this many pairs support the FPIR; 0 if none."""
    rate = smallest_rate(pairs)
    return 0 if rate is None else math.floor(math.log1p(-fpir) / math.log1p(-rate))


def needed_pairs(rate: float) -> int:
    """Return how many pairs of different people a claim about a false-match rate needs: 3 / rate (rule of 3)."""
    return math.ceil(3 / rate * (1 - 1e-12))


def require_sample(pairs: int, rate: float) -> None:
    """Raise `SampleTooSmall` unless so many pairs of different people support a claim about a false-match rate."""
    needed = needed_pairs(rate)
    if pairs >= needed:
        return
    smallest = smallest_rate(pairs)
    carries = "no false-match rate" if smallest is None else f"a false-match rate of {smallest:g} at the smallest"
    raise SampleTooSmall(
        f"{pairs:,} compared pairs of different people support {carries}; {rate:.3g} needs {needed:,} of them "
        "(rule of 3, ISO/IEC 19795-1).",
        needed=needed,
        smallest_rate=smallest,
    )


def smallest_rate(pairs: int) -> float | None:
    """Return the smallest false-match rate, rounded up to three digits, that so many pairs support; None if none."""
    if pairs <= 3:
        return None
    rate = Decimal(3) / pairs
    return float(rate.quantize(Decimal(1).scaleb(rate.adjusted() - 2), ROUND_CEILING))


def rates_for(declared: Iterable[float], non_mated: int) -> tuple[float, ...]:
    """Return the rates at which to measure, largest first: the declared ones, and `RATES` up to what may be kept."""
    wanted = set(declared)
    affordable = max([*wanted, MOST_KEPT / max(non_mated, 1)])
    return tuple(sorted(wanted | {rate for rate in RATES if rate <= affordable}, reverse=True))


def scores_needed(rates: Sequence[float], non_mated: int) -> int:
    """Return how many of the highest non-mated scores decide the thresholds for these rates."""
    return _allowed(max(rates), non_mated) + 1


def measure(comparisons: Comparisons, claim: Claim) -> tuple[MeasuredPoint, ...]:
    """Return the operating points of a sample, largest rate first: those claimed, and `RATES` as far as it goes.

    Raises `SampleTooSmall` if the sample does not support the claim.
    """
    claim.require_sample(comparisons.n_subject_pairs)
    n = comparisons.n_non_mated
    rates = [r for r in rates_for(claim.rates(), n) if comparisons.n_subject_pairs >= needed_pairs(r)]
    plain = {rate: _point_at(comparisons.highest, _allowed(rate, n)) for rate in rates}
    enough = {errors for _, errors in plain.values() if errors >= ENOUGH_ERRORS}
    intervals = _by_subject(comparisons, sorted(enough | set(range(min(ENOUGH_ERRORS, n + 1)))))
    points = []
    for rate, (threshold, errors) in plain.items():
        basis = Basis.MEASURED
        if errors < ENOUGH_ERRORS:
            basis = Basis.UPPER_BOUND
            threshold, errors = _point_at(comparisons.highest, _bounded(rate, errors, n, intervals))
        points.append(
            MeasuredPoint(
                rate=rate,
                threshold=threshold,
                false_matches=errors,
                false_non_matches=int((comparisons.mated < threshold).sum()),
                support=Support.SUPPORTED if basis is Basis.MEASURED else Support.FEW_ERRORS,
                basis=basis,
                exact=clopper_pearson(errors, n, CONFIDENCE),
                by_subject=intervals[errors],
            )
        )
    return tuple(points)


def _allowed(rate: float, n: int) -> int:
    """Return how many of n comparisons may be false matches at a rate below 1."""
    return min(int(np.floor(np.nextafter(rate * n, np.inf))), n - 1)


def _point_at(highest: Floats, allowed: int) -> tuple[float, int]:
    """Return the smallest threshold with at most so many errors, rounded up, and the errors that it leaves.

    `highest` descends. Equal scores pass together or not at all. The rounding, upwards and so to the safe side, is
    coarser than what the arithmetic of float32 leaves undecided.
    """
    bar = float(highest[allowed])
    threshold = round(math.ceil(bar / _STEP) * _STEP, 6)
    while threshold <= bar:
        threshold = round(threshold + _STEP, 6)
    return threshold, int(np.searchsorted(-highest, -threshold, side="right"))


def _bounded(rate: float, errors: int, n: int, by_subject: dict[int, Interval | None]) -> int:
    """Return the largest number of errors, of at most `errors`, whose upper bounds are at most the rate."""
    for count in range(errors, 0, -1):
        resampled = by_subject[count]
        if resampled is None:
            continue
        if max(clopper_pearson(count, n, CONFIDENCE).high, resampled.high) <= rate:
            return count
    return 0


def _by_subject(comparisons: Comparisons, counts: Sequence[int]) -> dict[int, Interval | None]:
    """Return the bootstrap's interval of the FMR at the thresholds that leave the `counts` highest scores as errors.

    A comparison counts as often as both of its people were drawn.
    """
    most = max(counts)
    first, second = comparisons.first[:most], comparisons.second[:most]
    ends = np.array(counts)

    def rates(drawn: Weights) -> Floats:
        total = comparisons.weigh(drawn)
        if total <= 0:
            return np.full(len(ends), np.nan)
        sums: Floats = np.concatenate([[0.0], np.cumsum(drawn[first] * drawn[second])])[ends] / total
        return sums

    found = bootstrap(rates, comparisons.n_units, confidence=CONFIDENCE)
    return dict(zip(counts, found, strict=True))
