"""Captures that prove which device took them: what is signed, and when a gate turns a capture away.

Against injection, as CEN/TS 18099 calls a stream that never passed the camera: a capture carries an Ed25519 signature
(RFC 8032) by a key that is registered for its gate. The signed bytes are six kinds of field, each behind its length
as four bytes, big-endian, so that no two captures have the same bytes:

    "dwarpal/capture/v1" | gate id, UTF-8 | nonce, ASCII | captured_at | SHA-256 of image 1 | SHA-256 of image 2 | ...

`captured_at` is whole microseconds since 1970 UTC as eight bytes, signed, big-endian; a hash is over an image's bytes
as they are sent, before any decoding. Golden vectors: tests/vectors/capture.

The frames of one call to a liveness session are signed together, each with its own nonce and time:

    "dwarpal/session-frames/v1" | gate id | session id | nonce 1 | captured_at 1 | SHA-256 of image 1 | nonce 2 | ...
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from biometrics.errors import MalformedInput, NotPermitted
from biometrics.records import Gate

if TYPE_CHECKING:
    from biometrics.ports import DeviceKeyStore  # brings numpy, which a command line without images does not need

LABEL = b"dwarpal/capture/v1"
SESSION_LABEL = b"dwarpal/session-frames/v1"
SIGNATURE_BYTES = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CaptureClaim:
    """What a gate says about its images: where, when, under which nonce, and the SHA-256 of each, in order."""

    gate_id: str
    nonce: str
    captured_at: datetime
    digests: tuple[bytes, ...]

    @property
    def payload(self) -> bytes:
        """The bytes that are signed."""
        at = _time(self.captured_at)
        return b"".join(map(_field, (LABEL, self.gate_id.encode(), self.nonce.encode(), at, *self.digests)))


@dataclass(frozen=True, slots=True)
class SessionFramesClaim:
    """What a gate says about one call's frames: the session, and nonce, time and SHA-256 of each, in order."""

    gate_id: str
    session_id: str
    frames: tuple[tuple[str, datetime, bytes], ...]

    @property
    def payload(self) -> bytes:
        """The bytes that are signed."""
        each = (part for nonce, at, digest in self.frames for part in (nonce.encode(), _time(at), digest))
        return b"".join(map(_field, (SESSION_LABEL, self.gate_id.encode(), self.session_id.encode(), *each)))


class Signed(Protocol):
    """What a device signs."""

    @property
    def payload(self) -> bytes:
        """The bytes that are signed."""
        ...


@dataclass(frozen=True, slots=True)
class CaptureSignature:
    """A device's signature: the id of its key and the 64 bytes."""

    key_id: str
    value: bytes = field(repr=False)

    @classmethod
    def parse(cls, key_id: str, text: str) -> CaptureSignature:
        """Read the signature from base64url without padding; raise `MalformedInput` for any other spelling."""
        try:
            value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            value = b""
        if len(value) != SIGNATURE_BYTES or base64url(value) != text:
            raise MalformedInput("A signature is 64 bytes in base64url without padding.", code="malformed_signature")
        return cls(key_id, value)


class SignatureVerifier(Protocol):
    """Checks Ed25519 signatures."""

    def valid(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Say whether the 64-byte signature of a message is by the 32-byte public key."""
        ...


def demand_signature(
    gate: Gate,
    claim: Signed,
    signature: CaptureSignature | None,
    devices: DeviceKeyStore,
    verifier: SignatureVerifier,
) -> None:
    """Turn a capture away that is not signed although its gate asks for it, or that is signed wrongly.

    A signature that is there is always verified, so that a site sees its devices sign before it demands it. Raises
    `NotPermitted`: `signature_required`, or `signature_invalid` alike for changed bytes, an unknown key, a revoked one
    and another gate's.
    """
    if signature is None:
        if gate.signed_captures:
            raise NotPermitted("This gate takes signed captures only.", code="signature_required")
        return
    key = devices.get(gate.id, signature.key_id)
    if key is None or key.revoked_at is not None or not verifier.valid(key.public, claim.payload, signature.value):
        raise NotPermitted("This is not the signature of a device of this gate.", code="signature_invalid")


def base64url(content: bytes) -> str:
    """Return the only spelling of bytes that the interface takes: base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _time(at: datetime) -> bytes:
    return ((at - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


def _field(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
