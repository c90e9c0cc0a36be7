"""What a trace of a traveller looks like in raw bytes: pieces of a template, and the beginnings of pictures.

A template is looked for in pieces of 32 bytes, one in every 128, so that what an overwriting pass left of it is found
as well. A picture's magic bytes alone prove nothing (a program that reads pictures has them in its code): the
structure that follows must be a picture's too.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biometrics.errors import MalformedInput

PIECE = 32
STRIDE = 128
LOOK_AHEAD = 1 << 17
"""Bytes after a place that may be needed to judge it: a JPEG's segment has up to 65,537."""

_PLAIN = 8
_WORD = 8
_HASH_BITS = 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, from the golden ratio: Knuth, The Art of Computer Programming, volume 3, section 6.4."""
_JPEG, _PNG, _RIFF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
_START_OF_SCAN = 0xDA
_SEGMENTS = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE}) - {0xC8}
_PNG_HEADER = struct.Struct(">I4sIIBBBBB")
_PNG_COLORS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X"}


@dataclass(frozen=True, slots=True)
class Needle:
    """Bytes to look for, and what it means to find them."""

    what: str
    piece: bytes


def template_needles(vectors: NDArray[np.floating]) -> list[Needle]:
    """Return the pieces of templates (n, d) as they may stand in memory or on disk.

    That is float16 (as sealed), float32 and float64, little-endian, and float32 as it is after opening: from float16,
    brought to length 1. Raises `MalformedInput` where a vector could not be told from anything else.
    """
    needles = []
    for vector in np.atleast_2d(vectors):
        opened = vector.astype("<f2").astype("<f4")
        forms = {f"float{size * 8}": vector.astype(f"<f{size}") for size in (2, 4, 8)}
        forms["float32, opened"] = opened / max(float(np.linalg.norm(opened)), 1e-30)
        for name, form in forms.items():
            needles += byte_needles(form.astype(form.dtype.newbyteorder("<")).tobytes(), f"template, {name}")
    return list({needle.piece: needle for needle in needles}.values())


def byte_needles(content: bytes, what: str) -> list[Needle]:
    """Return the pieces of any bytes; raise `MalformedInput` if they are too few or too plain to prove anything."""
    starts = range(0, max(len(content) - PIECE, 0) + 1, STRIDE)
    pieces = [content[at : at + PIECE] for at in starts]
    telling = [Needle(what, piece) for piece in pieces if len(piece) >= PIECE // 2 and len(set(piece)) >= _PLAIN]
    if not telling:
        raise MalformedInput("What to look for is too short or too plain.", code="canary_too_plain")
    return telling


class Pieces:
    """Finds pieces in bytes; thousands of them take hardly longer than one.

    A hash of the first bytes at every place decides where it is worth looking (Karp and Rabin, 1987).
    """

    def __init__(self, needles: list[Needle]) -> None:
        self._what = {needle.piece: needle.what for needle in needles}
        self._lengths = sorted({len(piece) for piece in self._what})
        self._words = self._lengths[0] // _WORD if needles else 0
        firsts = b"".join(piece[: _WORD * self._words] for piece in self._what)
        self._wanted = np.zeros(1 << _HASH_BITS, np.bool_)
        self._wanted[_hashes(np.frombuffer(firsts, "<u8").reshape(-1, self._words).T if needles else [])] = True

    def find(self, data: bytes, end: int) -> Iterator[tuple[int, str]]:
        """Yield where pieces begin before `end`, and what they are."""
        for shift in range(_WORD if self._what else 0):
            count = (len(data) - shift) // _WORD
            if count < self._words:
                continue
            numbers = np.frombuffer(data, "<u8", count, shift)
            words = [numbers[word : count - self._words + 1 + word] for word in range(self._words)]
            for place in np.flatnonzero(self._wanted[_hashes(words)]).tolist():
                at = shift + _WORD * place
                for length in self._lengths if at < end else ():
                    if (what := self._what.get(data[at : at + length])) is not None:
                        yield at, what


def _hashes(words: Sequence[NDArray[np.uint64]] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of n rows, given as their columns of eight bytes each."""
    mixed = np.zeros(len(words[0]) if len(words) else 0, np.uint64)
    for word in words:
        mixed = (mixed ^ word) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
    return mixed >> np.uint64(64 - _HASH_BITS)


def find_pictures(data: bytes, end: int) -> Iterator[tuple[int, str]]:
    """Yield where a JPEG, PNG or WebP picture begins before `end`."""
    for magic, what, is_picture in (
        (_JPEG, "JPEG picture", _is_jpeg),
        (_PNG, "PNG picture", _is_png),
        (_RIFF, "WebP picture", _is_webp),
    ):
        for at in _occurrences(data, magic, end):
            if is_picture(data, at):
                yield at, what


def _occurrences(data: bytes, piece: bytes, end: int) -> Iterator[int]:
    at = data.find(piece, 0, end + len(piece) - 1)
    while at >= 0:
        yield at
        at = data.find(piece, at + 1, end + len(piece) - 1)


def _is_jpeg(data: bytes, at: int) -> bool:
    """Follow the segments: each begins with FF, a known marker and its length; two of them are enough (ITU-T T.81)."""
    at += 2
    for followed in itertools.count():
        if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] not in _SEGMENTS:
            return False
        if followed == 2 or data[at + 1] == _START_OF_SCAN:
            return True
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return False
        at += 2 + length
    return False


def _is_png(data: bytes, at: int) -> bool:
    """Read the header chunk that must come first (PNG, 11.2.2)."""
    if len(data) < at + len(_PNG) + _PNG_HEADER.size:
        return False
    length, kind, width, height, depth, color, *_methods = _PNG_HEADER.unpack_from(data, at + len(_PNG))
    right = length == 13 and kind == b"IHDR" and depth in _PNG_COLORS.get(color, ())
    return bool(right and 0 < width < 2**31 and 0 < height < 2**31)


def _is_webp(data: bytes, at: int) -> bool:
    return data[at + 8 : at + 12] == b"WEBP" and data[at + 12 : at + 16] in _WEBP_CHUNKS
