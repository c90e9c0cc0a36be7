"""Opaque cursors: where a page begins, not a promise of what the text means."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Query

from biometrics.errors import MalformedInput

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]


def _read(
    cursor: Annotated[str | None, Query(max_length=40, description="`next_cursor` of the last page")] = None,
) -> int:
    if cursor is None:
        return 0
    try:
        number = int(base64.urlsafe_b64decode(cursor.encode()).decode("ascii"))
        if not 0 <= number < 2**62 or cursor != next_cursor(number):  # one place has one cursor
            raise ValueError
    except (ValueError, binascii.Error):
        raise MalformedInput("This is not a cursor.", code="malformed_cursor") from None
    return number


Cursor = Annotated[int, Depends(_read)]


def next_cursor(index: int) -> str:
    """Return the cursor of the page that begins at `index`."""
    return base64.urlsafe_b64encode(str(index).encode()).decode()
