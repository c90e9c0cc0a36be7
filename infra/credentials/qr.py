"""A credential as one QR code (ISO/IEC 18004): bytes mode, low error correction, for a bright screen."""

from __future__ import annotations

from io import BytesIO

import segno

PIXELS_A_MODULE = 6


def qr_png(text: str) -> bytes:
    """Return the QR code as a PNG."""
    png = BytesIO()
    segno.make(text, error="l", micro=False).save(png, kind="png", scale=PIXELS_A_MODULE)
    return png.getvalue()


def qr_version(text: str) -> int:
    """Return the version, 1 to 40: the code has 17 + 4 x version modules a side."""
    return int(segno.make(text, error="l", micro=False).version)
