"""Cursors: round trip, and malformed for all else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from services.api.paging import _read, next_cursor


@given(st.integers(0, 2**62 - 1))
def test_a_cursor_survives_print_and_parse(index: int) -> None:
    assert _read(next_cursor(index)) == index
    assert len(next_cursor(index)) <= 40, "the limit of the query parameter"


def test_the_first_page_needs_no_cursor() -> None:
    assert _read(None) == 0


@given(st.text(max_size=60) | st.binary(max_size=30).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_anything_else_is_malformed_and_nothing_else_is_raised(text: str) -> None:
    try:
        index = _read(text)
    except MalformedInput as error:
        assert error.code == "malformed_cursor"
        assert error.detail == "This is not a cursor."
    else:
        assert 0 <= index < 2**62
        assert next_cursor(index) == text, "one place has one cursor"


@pytest.mark.parametrize("number", ["-1", str(2**62), "9" * 5000, "1.0", "+1", " 1", "1_0", "٣", "", "nan"])
def test_only_plain_numbers_in_range_are_places(number: str) -> None:
    with pytest.raises(MalformedInput):
        _read(base64.urlsafe_b64encode(number.encode()).decode())
