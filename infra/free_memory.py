"""Python's own allocator keeps small blocks that were freed, with their bytes: keys, shares, tokens among them.

CPython serves objects of up to 512 bytes from arenas of its own, which the C library's `M_PERTURB` never sees, and a
freed block there keeps its content until another object of its size takes the place. A copy of a 32-byte key in `bytes`
cannot be overwritten by whoever drops it. So all free places are taken for a moment by objects that hold zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Lock
from typing import Final

LARGEST: Final = 512
"""Bytes of the largest block that comes from an arena (Objects/obmalloc.c, SMALL_REQUEST_THRESHOLD)."""

_STEP: Final = 16
_BUDGET: Final = 4 << 20
_OVERHEAD: Final = sys.getsizeof(b"")
_one_at_a_time = Lock()


def overwrite_free_blocks() -> None:
    """Fill every free place for small objects with zeros and give it back; others run between the sizes.

    For each size of block as many objects are made as free places can hardly be: 4 MiB of them. Those of fewer than 48
    bytes hold no 32 bytes beside their header.
    """
    with _one_at_a_time:
        for size in _sizes():
            taken = [bytes(size - _OVERHEAD) for _ in range(_BUDGET // size)]
            del taken


def _sizes() -> Iterator[int]:
    yield from range(-(-(_OVERHEAD + 2) // _STEP) * _STEP, LARGEST + 1, _STEP)
