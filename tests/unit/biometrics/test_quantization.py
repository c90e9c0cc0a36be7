"""512 signed bytes stand for a template: close, without a scale, and nothing else reads as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.comparison import cosine
from biometrics.errors import SealBroken
from biometrics.quantization import LARGEST, quantize, quantize_rows, restore
from biometrics.types import EMBEDDING_SIZE, Template
from tests.factories import make_template


@given(st.integers(0, 10**6))
def test_a_template_survives_its_bytes(seed: int) -> None:
    with make_template(seed) as template, restore(quantize(template)) as back:
        assert cosine(template, back) > 0.9998
        assert abs(float(np.linalg.norm(back.vector)) - 1) < 1e-5


def test_bytes_of_bytes_are_the_same_bytes() -> None:
    once = quantize(make_template(3))
    assert len(once) == EMBEDDING_SIZE
    assert quantize(restore(once)) == once


def test_a_vector_of_one_number_is_exact() -> None:
    vector = np.zeros(EMBEDDING_SIZE, np.float32)
    vector[7] = -1.0
    assert restore(quantize(Template(vector.copy()))).vector.tolist() == vector.tolist()


def test_zero_rows_stay_zero_without_a_warning() -> None:
    assert not quantize_rows(np.zeros((2, 4), np.float32)).any()


@pytest.mark.parametrize(
    "data",
    [b"", bytes(EMBEDDING_SIZE), bytes([LARGEST]) * 511, bytes([LARGEST]) * 513, b"\x80" * 512, b"\x01" * 512],
    ids=["empty", "zero", "short", "long", "-128", "small"],
)
def test_other_bytes_are_no_template(data: bytes) -> None:
    with pytest.raises(SealBroken):
        restore(data)
