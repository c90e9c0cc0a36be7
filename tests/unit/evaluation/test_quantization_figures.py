"""What int8 costs: the same pairs twice, only one side quantized, and a difference that shows where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from biometrics.types import FloatArray
from evaluation.acquisition import Acquired
from evaluation.protocol import Pair
from evaluation.quantization import quantization_report
from evaluation.verification import pair_scores


def acquired(rows: FloatArray, *failed: str) -> Acquired:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Acquired(unit.astype(np.float32), {f"{i}.jpg": i for i in range(len(rows))}, (), failed)


def pairs(count: int) -> list[Pair]:
    return [Pair(f"{i}.jpg", f"{j}.jpg", same=i // 2 == j // 2) for i in range(count) for j in range(i + 1, count)]


def test_int8_moves_scores_a_little_and_decisions_not() -> None:
    rng = np.random.default_rng(5)
    people = rng.standard_normal((10, 512)).repeat(2, axis=0)
    report = quantization_report(
        pairs(20), acquired((people + 0.3 * rng.standard_normal((20, 512))).astype(np.float32)), threshold=0.5
    )
    assert 0 < report.mean_difference < report.largest_difference < 0.005
    assert report.other_decisions == 0
    assert report.floats.eer == report.int8.eer == 0
    assert report.floats.n_mated == 10


def test_a_vector_that_bytes_cannot_hold_shows_as_another_decision() -> None:
    """One number so large that all others round to nothing: what was alike is alike no more."""
    spiked = np.full((2, 512), 0.3, np.float32)
    spiked[:, 0] = 100.0
    spiked[1, 0] = -100.0
    both = acquired(spiked)
    [score] = pair_scores(pairs(2), both)
    report = quantization_report(pairs(2), both, threshold=float(score) - 1e-9)
    assert report.other_decisions == 1
    assert report.largest_difference == pytest.approx(abs(score + 1), abs=0.01)


def test_a_failure_to_acquire_stays_one_on_both_sides() -> None:
    found = acquired(np.eye(512, dtype=np.float32)[:2], "9.jpg")
    report = quantization_report(
        [Pair("0.jpg", "1.jpg", same=False), Pair("0.jpg", "9.jpg", same=True)], found, threshold=0.5
    )
    assert report.largest_difference == 0, "unit vectors of one number are exact, and a failure is no score"
    assert report.floats.tar_at_far == report.int8.tar_at_far
