"""Comparing without seeing: BFV homomorphic encryption of templates (Fan and Vercauteren, 2012), by TenSEAL on
Microsoft SEAL; the only file that knows TenSEAL, which is an optional extra.

A template is 512 whole numbers, round(700 v), encrypted under the public key of a key holder. A gate multiplies them by
the whole numbers of a probe that it sees in the clear, and gets one encrypted number, the dot product, which only the
key holder reads. Parameters: degree 4096 and SEAL's 109-bit default modulus, 128 bits of security
(HomomorphicEncryption.org standard, 2018); plain modulus 1,032,193, above twice the largest dot product of 490,000.
"""

from __future__ import annotations

import math

import numpy as np

from biometrics.errors import ModelUnusable, SealBroken
from biometrics.types import FloatArray, Template

try:
    import tenseal
except ImportError:  # `pip install dwarpal[blind]`
    tenseal = None

DEGREE = 4096
PLAIN_MODULUS = 1_032_193
SCALE = 700
"""Length of a template in whole numbers: rounding moves a cosine by about 0.0006."""

MOST_BYTES = 150_000
"""An encrypted template or dot product has about 88,500 bytes."""


def installed() -> bool:
    """Say whether the extra is installed."""
    return tenseal is not None


def demand_installed() -> None:
    """Raise `ModelUnusable` with what to do if the extra is not installed."""
    if tenseal is None:
        raise ModelUnusable("Blind matching needs an extra: pip install 'dwarpal[blind]'.", code="blind_not_installed")


def make_keys() -> tuple[bytes, bytes]:
    """Return a new secret key and its public half, with what multiplying needs, as bytes."""
    demand_installed()
    context = tenseal.context(tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=DEGREE, plain_modulus=PLAIN_MODULUS)
    context.generate_galois_keys()
    secret = context.serialize(save_secret_key=True, save_galois_keys=False)
    context.make_context_public()
    return secret, context.serialize(save_galois_keys=True)


def whole(vector: FloatArray) -> list[int]:
    """Return 512 floats of unit length as whole numbers."""
    return [int(number) for number in np.rint(vector.astype(np.float64) * SCALE)]


def least(threshold: float, numbers: list[int]) -> int:
    """Return the smallest dot product with these numbers of a probe that means a cosine of `threshold`."""
    return math.ceil(threshold * SCALE * math.sqrt(sum(number * number for number in numbers)))


class BlindSide:
    """Who holds the public key: encrypts templates and multiplies, and can read neither."""

    def __init__(self, public: bytes) -> None:
        """Raise `ModelUnusable` if this is no public key, or holds the secret one."""
        self._context = _context(public)
        if self._context.is_private():
            raise ModelUnusable("This is the secret key: it belongs to the key holder alone.", code="blind_secret_key")

    def __repr__(self) -> str:
        return "<BlindSide>"

    def encrypt(self, template: Template) -> bytes:
        """Encrypt a template; no two encryptions are alike."""
        return bytes(tenseal.bfv_vector(self._context, whole(template.vector)).serialize())

    def multiply(self, encrypted: bytes, numbers: list[int]) -> bytes:
        """Return the encrypted dot product with the whole numbers of a probe; raise `SealBroken`."""
        vector = _vector(self._context, encrypted)
        if vector.size() != len(numbers):
            raise SealBroken("This is no encrypted template.")
        return bytes(vector.dot(numbers).serialize())


class SeeingSide:
    """Who holds the secret key: reads a dot product, and says no more than whether it is enough."""

    def __init__(self, secret: bytes) -> None:
        """Raise `ModelUnusable` if this is no secret key."""
        self._context = _context(secret)
        if not self._context.is_private():
            raise ModelUnusable("This is no secret key.", code="blind_no_secret_key")

    def __repr__(self) -> str:
        return "<SeeingSide>"

    def enough(self, product: bytes, smallest: int) -> bool:
        """Say whether an encrypted dot product is `smallest` or more; raise `SealBroken` for anything else."""
        vector = _vector(self._context, product)
        numbers = vector.decrypt()
        return len(numbers) == 1 and numbers[0] >= smallest


def _context(key: bytes) -> tenseal.Context:
    demand_installed()
    try:
        return tenseal.context_from(key)
    except (ValueError, RuntimeError, TypeError):
        raise ModelUnusable("This is no key for blind matching.", code="blind_malformed_key") from None


def _vector(context: tenseal.Context, data: bytes) -> tenseal.BFVVector:
    if len(data) > MOST_BYTES:
        raise SealBroken("This is no encrypted template.")
    try:
        return tenseal.bfv_vector_from(context, data)
    except (ValueError, RuntimeError, TypeError):
        raise SealBroken("This is no encrypted template.") from None
