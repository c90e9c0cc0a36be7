"""What Python freed is overwritten; without that it stays readable."""

import ctypes
import hashlib
import os
import sys

import pytest

from infra.free_memory import LARGEST, overwrite_free_blocks

CONTENT = bytes.__basicsize__ - 1
"""Where the content of a bytes object begins."""

Place = tuple[int, int, bytes]
"""Address, size, and SHA-256 of what stood there."""


def freed_secrets() -> tuple[list[bytes], list[Place]]:
    """Make secrets of many sizes and drop every other one; the rest keeps their arenas mapped."""
    sizes = (32, 43, 69, 128, 300, LARGEST - CONTENT - 1)
    secrets = [os.urandom(size) for size in sizes for _ in range(400)]
    dropped = [(id(one) + CONTENT, len(one), hashlib.sha256(one).digest()) for one in secrets[1::2]]
    kept = secrets[::2]
    del secrets
    return kept, dropped


def still_there(places: list[Place]) -> int:
    return sum(hashlib.sha256(ctypes.string_at(at, size)).digest() == digest for at, size, digest in places)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="another allocator")
def test_freed_blocks_are_overwritten_and_those_in_use_are_not() -> None:
    kept, dropped = freed_secrets()
    digests = [hashlib.sha256(one).digest() for one in kept]
    assert still_there(dropped) > len(dropped) / 4, "or there is nothing to overwrite"
    overwrite_free_blocks()
    assert still_there(dropped) == 0
    assert [hashlib.sha256(one).digest() for one in kept] == digests
