"""Turns uploaded bytes into pixels, and nothing but pixels.

Only JPEG, PNG and WebP, known by their first bytes; the size is read from the header before any decoder sees
the file; EXIF orientation is applied; every other piece of metadata is dropped with the file.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from biometrics.errors import DwarpalError, MalformedInput, TooLarge, UnsupportedImage
from biometrics.types import Pixels

# A PNG may carry compressed text and color profiles that nobody here reads: they may not unpack to much.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

BROKEN_FILE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    UnidentifiedImageError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
"""What Pillow raises on files that lie about themselves."""

ORIENTATION_TAG: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the picture upright."""


def decode_image(content: bytes, *, max_bytes: int, max_pixels: int) -> Pixels:
    """Decode one photograph, upright; of an animation only the first frame.

    Raises `TooLarge` (bytes, or pixels by the header), `UnsupportedImage`, or `MalformedInput` with the code
    `malformed_image` for files that are empty, cut off or broken.
    """
    if not content:
        raise _malformed()
    if len(content) > max_bytes:
        raise TooLarge(f"The image has more than {max_bytes} bytes.")
    kind = image_format(content)
    if kind is None:
        raise UnsupportedImage("The image is not a JPEG, PNG or WebP.")
    try:
        _check_size(*header_size(content, kind), max_pixels)
        with Image.open(io.BytesIO(content), formats=[kind]) as opened:
            _check_size(opened.width, opened.height, max_pixels)
            opened.load()
            upright = UPRIGHT.get(_orientation(opened))
            rgb = _rgb(opened)
            return np.array(rgb if upright is None else rgb.transpose(upright), dtype=np.uint8)
    except DwarpalError:
        raise
    except BOMBS:
        raise TooLarge(f"The image has more than {max_pixels} pixels.") from None
    except BROKEN_FILE:
        # Without the cause: Pillow's words may repeat parts of the file.
        raise _malformed() from None


def image_format(content: bytes) -> str | None:
    """Return `JPEG`, `PNG` or `WEBP` by the first bytes, None for anything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    return None


def header_size(content: bytes, kind: str) -> tuple[int, int]:
    """Return width and height in pixels as the header states them; `MalformedInput` if it does not."""
    try:
        if kind == "PNG":
            width, height = struct.unpack_from(">II", content, 16)
            return width, height
        return _jpeg_size(content) if kind == "JPEG" else _webp_size(content)
    except (struct.error, IndexError):
        raise _malformed() from None


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Walk the segments to the start of frame (ITU-T T.81, B.2.2)."""
    at = 2
    while True:
        if content[at] != 0xFF:
            raise _malformed()
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            at += 2
        elif marker in (0xD9, 0xDA):  # the end, or the scan, before any frame
            raise _malformed()
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        else:
            at += 2 + max(2, int(struct.unpack_from(">H", content, at + 2)[0]))


def _webp_size(content: bytes) -> tuple[int, int]:
    """Read the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    chunk = content[12:16]
    if chunk == b"VP8X":
        low, middle, high, *more = struct.unpack_from("<HBHB", content, 24)
        return (low | middle << 16) + 1, (high | more[0] << 16) + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise _malformed()


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLarge(f"The image has more than {max_pixels} pixels.")
    if width * height == 0:
        raise _malformed()


def _orientation(opened: Image.Image) -> int:
    """Return the EXIF orientation; broken EXIF means upright."""
    try:
        value = opened.getexif().get(ORIENTATION_TAG, 1)
    except BROKEN_FILE:
        return 1
    return value if isinstance(value, int) else 1


def _rgb(opened: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 bits lose the lower 8, transparency shows white."""
    if opened.mode.startswith("I"):
        gray = (np.asarray(opened).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")
    if opened.has_transparency_data:
        over_white = Image.new("RGBA", opened.size, "white")
        over_white.alpha_composite(opened.convert("RGBA"))
        return over_white.convert("RGB")
    return opened.convert("RGB")


def _malformed() -> MalformedInput:
    return MalformedInput("The image is empty, cut off or broken.", code="malformed_image")
