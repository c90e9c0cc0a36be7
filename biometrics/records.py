"""What is kept of a traveller's journey, and what is said about it to the audit log."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from biometrics.errors import MalformedInput

RETENTION = timedelta(hours=24)
"""A template lives at most this long after enrollment or departure, whichever is later."""

EPOCH = timedelta(hours=1)
"""Templates that expire in the same hour share one key-encryption key."""


class Purpose(StrEnum):
    """What a traveller can consent to: one for each kind of gate, and one for being recognized without a token."""

    ENTRY = "entry"
    SECURITY = "security"
    BOARDING = "boarding"
    WALK_THROUGH = "walk_through"


GATE_PURPOSES = frozenset({Purpose.ENTRY, Purpose.SECURITY, Purpose.BOARDING})


def new_id() -> str:
    """Return a random 128-bit identifier as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def epoch_of(expires_at: datetime) -> int:
    """Return the epoch (whole hours since 1970 UTC) in which a template expires."""
    return int(expires_at.timestamp()) // int(EPOCH.total_seconds())


def epoch_end(epoch: int) -> datetime:
    """Return the first moment after the epoch: from then on its keys must be gone."""
    return datetime.fromtimestamp((epoch + 1) * EPOCH.total_seconds(), UTC)


def latest_expiry(enrolled_at: datetime, departs_at: datetime | None) -> datetime:
    """Return the last moment at which a template may exist: the later of enrollment and departure, plus 24 h."""
    start = enrolled_at if departs_at is None else max(enrolled_at, departs_at)
    return start + RETENTION


@dataclass(frozen=True, slots=True)
class TravelToken:
    """What the traveller carries: an enrollment id and a random 256-bit key share; silent when printed."""

    enrollment_id: str
    share: bytes = field(repr=False)

    PREFIX = "DWP1"

    @classmethod
    def new(cls, enrollment_id: str) -> TravelToken:
        """Make a token with a fresh share."""
        return cls(enrollment_id, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> TravelToken:
        """Read the text form; raise `MalformedInput` if it is not one."""
        parts = text.strip().split(".")
        try:
            if len(parts) != 3 or parts[0] != cls.PREFIX:
                raise ValueError
            identifier, share = (
                base64.b64decode(p + "=" * (-len(p) % 4), altchars=b"-_", validate=True) for p in parts[1:]
            )
            if len(identifier) != 16 or len(share) != 32:
                raise ValueError
        except (ValueError, binascii.Error):
            raise MalformedInput("This is not a travel token.", code="malformed_token") from None
        token = cls(identifier.hex(), share)
        if token.text != text.strip():  # one token has one spelling
            raise MalformedInput("This is not a travel token.", code="malformed_token")
        return token

    @property
    def text(self) -> str:
        """The text form, also the content of the QR code: `DWP1.<id>.<share>` in base64url."""
        parts = (
            base64.urlsafe_b64encode(b).rstrip(b"=").decode() for b in (bytes.fromhex(self.enrollment_id), self.share)
        )
        return ".".join((self.PREFIX, *parts))

    @property
    def verifier(self) -> bytes:
        """What the database keeps to recognize the holder: SHA-256 of a label and the 256-bit share."""
        return hashlib.sha256(b"dwarpal/holder/v1|" + self.share).digest()

    def opens(self, record: EnrollmentRecord) -> bool:
        """Say, in constant time, whether this is the token that the enrollment was given."""
        return hmac.compare_digest(self.verifier, record.holder_verifier)


@dataclass(frozen=True, slots=True)
class SealedTemplate:
    """A template as the database sees it.

    `envelope` is the template under its data key; `for_holder` the data key under epoch key and traveller's share;
    `for_gallery` the data key under the epoch key alone, present only where walk-through was consented to.
    """

    envelope: bytes = field(repr=False)
    for_holder: bytes = field(repr=False)
    for_gallery: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Consent:
    """What the traveller agreed to: purposes, and the notice (version, SHA-256, language) that they read."""

    purposes: frozenset[Purpose]
    notice_version: str
    notice_sha256: str
    language: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class EnrollmentRecord:
    """One traveller's enrollment. There is no name, document number or image in it."""

    id: str
    flight: str
    enrolled_at: datetime
    departs_at: datetime | None
    expires_at: datetime
    consent: Consent
    model_digest: str
    sealed: SealedTemplate
    holder_verifier: bytes = field(repr=False)
    duplicate_suspected: bool = False
    failed_checks: int = 0
    locked_until: datetime | None = None

    @property
    def epoch(self) -> int:
        """The epoch whose keys seal this template."""
        return epoch_of(self.expires_at)

    def in_walk_through(self, now: datetime, window: timedelta) -> bool:
        """Say whether a gallery may hold this template now: consented to, and departing within `window`.

        Never where no departure is known, for the notice speaks of the hours before it.
        """
        consented = Purpose.WALK_THROUGH in self.consent.purposes and self.sealed.for_gallery is not None
        if not consented or self.departs_at is None or self.expires_at <= now:
            return False
        return now <= self.departs_at <= now + window


class LivenessPolicy(StrEnum):
    """How a gate makes sure of a living person: by PAD on the capture, by an active challenge before it, or by both."""

    PASSIVE = "passive"
    ACTIVE = "active"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Gate:
    """A place where a face is checked, for one purpose.

    `walk_through` says whether it may search without a token, `signed_captures` whether it turns away every capture
    that no device key of its own has signed.
    """

    id: str
    purpose: Purpose
    walk_through: bool = False
    liveness: LivenessPolicy = LivenessPolicy.PASSIVE
    signed_captures: bool = False

    @property
    def passive(self) -> bool:
        """Whether PAD looks at every capture."""
        return self.liveness is not LivenessPolicy.ACTIVE

    @property
    def active(self) -> bool:
        """Whether a check needs a liveness session that succeeded."""
        return self.liveness is not LivenessPolicy.PASSIVE


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The public half of an Ed25519 key (RFC 8032) that lives in a gate's camera or computer and signs its captures.

    `public` are its 32 bytes. The id follows from them, so that one key never stands for two gates and a revoked key
    never comes back.
    """

    id: str
    gate_id: str
    public: bytes
    created_at: datetime
    revoked_at: datetime | None = None

    @staticmethod
    def id_of(public: bytes) -> str:
        """Return the id of a public key: the first 128 bits of its SHA-256, in hexadecimal."""
        return hashlib.sha256(public).hexdigest()[:32]


class EventKind(StrEnum):
    """What can happen to a traveller or to the system, as the audit log names it."""

    ENROLLED = "enrolled"
    CHECKED = "checked"
    MOVED_OUT = "moved_out"
    MOVED_IN = "moved_in"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    REVIEWED = "reviewed"
    EPOCH_DESTROYED = "epoch_destroyed"
    GATE_CREATED = "gate_created"
    GATE_CHANGED = "gate_changed"
    DEVICE_KEY_ADDED = "device_key_added"
    DEVICE_KEY_REVOKED = "device_key_revoked"
    LIVENESS_ENDED = "liveness_ended"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    PURGED = "purged"
    CALIBRATED = "calibrated"
    RIGHTS_RECEIVED = "rights_received"
    RIGHTS_READ = "rights_read"
    RIGHTS_DECIDED = "rights_decided"
    RIGHTS_ERASED = "rights_erased"
    SIGNING_KEY_ROTATED = "signing_key_rotated"
    OFFICER_DECIDED = "officer_decided"


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """The former and the new public signing key, raw, in hexadecimal: Ed25519, and ML-DSA-44 where there is one.

    The log's entry with them, under a checkpoint that the former key signed, is what vouches for the new one.
    """

    old_key: str
    new_key: str
    old_pq_key: str | None = None
    new_pq_key: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the log before it is written.

    `subject` and `epoch` name an enrollment; the log replaces them by HMAC(epoch audit key, subject) and the epoch.
    A check of nobody in particular has no subject. There is no field for a score, an image or a name.
    """

    kind: EventKind
    time: datetime
    event_id: str
    policy_version: str
    subject: str | None = None
    epoch: int | None = None
    gate_id: str | None = None
    purpose: Purpose | None = None
    decision: str | None = None
    reason: str | None = None
    expires_at: datetime | None = None
    count: int | None = None
    rotation: KeyRotation | None = None
    check_id: str | None = None
    """On an officer's decision: the check that it is about."""
    pseudonym: str | None = None
    """In place of `subject`, as another entry has it already: who decides about a check knows nobody's id."""
