"""What a template loses as 512 signed bytes: the same pairs compared in floats, and with one side quantized.

A gate compares a fresh probe, in floats, with the template that a credential carries; so the first image of a pair is
quantized and the second is not. Failures to acquire count as in `verification.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from biometrics.embedding import unit_rows
from biometrics.quantization import quantize_rows
from evaluation.acquisition import Acquired
from evaluation.intervals import Floats
from evaluation.protocol import Pair
from evaluation.verification import VerificationReport, pair_scores, report_on_scores


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """Both reports, and how far the scores and the decisions at `threshold` are apart."""

    floats: VerificationReport
    int8: VerificationReport
    largest_difference: float
    mean_difference: float
    threshold: float
    other_decisions: int


def quantization_report(pairs: list[Pair], acquired: Acquired, *, threshold: float) -> QuantizationReport:
    """Compare all pairs twice; raises `MalformedInput` on contradicting subjects."""
    floats, int8 = pair_scores(pairs, acquired), _quantized_scores(pairs, acquired)
    known = np.isfinite(floats)
    apart = np.abs(floats[known] - int8[known])
    return QuantizationReport(
        floats=report_on_scores(pairs, floats, acquired),
        int8=report_on_scores(pairs, int8, acquired),
        largest_difference=float(apart.max(initial=0.0)),
        mean_difference=float(apart.mean()) if len(apart) else 0.0,
        threshold=threshold,
        other_decisions=int(((floats >= threshold) != (int8 >= threshold)).sum()),
    )


def _quantized_scores(pairs: list[Pair], acquired: Acquired) -> Floats:
    """Score the pairs with the first image's embedding quantized: one set of rows of each kind, side by side."""
    n = len(acquired.embeddings)
    quantized = unit_rows(quantize_rows(acquired.embeddings).astype(np.float32))
    carried = {f"carried/{name}": row + n for name, row in acquired.rows.items()}
    both = replace(
        acquired, embeddings=np.concatenate([acquired.embeddings, quantized]), rows={**acquired.rows, **carried}
    )
    return pair_scores([replace(pair, image_a=f"carried/{pair.image_a}") for pair in pairs], both)
