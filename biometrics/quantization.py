"""A template in 512 bytes: each number as a signed byte, for a credential that fits one QR code.

The largest number of a template becomes 127 or -127 and the others keep their proportion to it, each rounded to the
nearest whole number. A cosine does not ask for the scale, so none is kept: Q(v) = round(127 v / max|v|).
What this costs is measured by `dwarpal evaluate quantization` (docs/credentials.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biometrics.errors import SealBroken
from biometrics.types import EMBEDDING_SIZE, FloatArray, Template

LARGEST = 127
Quantized = NDArray[np.int8]


def quantize_rows(vectors: FloatArray) -> Quantized:
    """Return n x 512 vectors as int8; a row of zeros stays one. What it needs on the way is overwritten."""
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))[:, np.newaxis]
    scaled = np.zeros_like(vectors)
    np.divide(vectors, largest, out=scaled, where=largest > 0)
    scaled *= LARGEST
    np.rint(scaled, out=scaled)
    try:
        return np.asarray(scaled.astype(np.int8))
    finally:
        scaled.fill(0.0)


def quantize(template: Template) -> bytearray:
    """Return a template as 512 bytes, which the caller overwrites."""
    numbers = quantize_rows(template.vector[np.newaxis])
    try:
        return bytearray(numbers.data)
    finally:
        numbers.fill(0)


def restore(data: bytes | bytearray) -> Template:
    """Return the unit vector of 512 bytes; raise `SealBroken` for what `quantize` never writes."""
    numbers = np.frombuffer(data, np.int8)
    if numbers.shape != (EMBEDDING_SIZE,) or max(int(numbers.max()), -int(numbers.min())) != LARGEST:
        raise SealBroken("These bytes are no template.")
    vector = numbers.astype(np.float32)
    vector /= np.linalg.norm(vector)
    return Template(vector)
