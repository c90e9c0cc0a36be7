"""The Protocols through which the domain speaks to the world; `infra` implements them, `services` wires them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Protocol, Self

from biometrics.credentials import CredentialStatuses
from biometrics.records import AuditEvent, DeviceKey, EnrollmentRecord, Gate, SealedTemplate, TravelToken
from biometrics.sessions import LivenessSession
from biometrics.types import Face, FloatArray, Pixels, Template


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...


class Network(Protocol):
    """A loaded neural network."""

    @property
    def provider_name(self) -> str:
        """What runs it, for people and metrics."""
        ...

    def run(self, batch: FloatArray) -> list[FloatArray]:
        """Run n x C x H x W float32 and return the outputs in their declared order, each with n rows."""
        ...


class FaceDetector(Protocol):
    """Finds faces."""

    def detect(self, image: Pixels) -> list[Face]:
        """Return all faces, best score first."""
        ...


class FaceEmbedder(Protocol):
    """Turns an aligned face into a template."""

    @property
    def model_digest(self) -> str:
        """SHA-256 of the network, in hexadecimal: templates of two digests are never compared."""
        ...

    def embed(self, aligned: Pixels) -> Template:
        """Embed one 112 x 112 x 3 aligned face."""
        ...


class HeldTemplate(Protocol):
    """What a traveller's token opens: a template, or one that can be compared and not seen."""

    def matches(self, probe: Template, threshold: float) -> bool:
        """Say whether the cosine with a probe reaches a threshold; may raise `SealBroken` or `NotReady`."""
        ...

    def __enter__(self) -> Self:
        """Lend it for a block."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Overwrite what there is to overwrite."""
        ...


class TemplateSealer(Protocol):
    """Seals templates so that only the right keys open them."""

    def seal(
        self, template: HeldTemplate, *, token: TravelToken, epoch: int, model_digest: str, for_gallery: bool
    ) -> SealedTemplate:
        """Seal a template for its holder and, if asked, for the walk-through gallery.

        Raises `KeyDestroyed` if the epoch has ended.
        """
        ...

    def open_with_token(self, record: EnrollmentRecord, token: TravelToken) -> HeldTemplate:
        """Open a template with the traveller's share; raise `SealBroken` or `KeyDestroyed`."""
        ...

    def open_for_gallery(self, record: EnrollmentRecord) -> Template:
        """Open a template whose traveller consented to walk-through; raise `SealBroken` or `KeyDestroyed`."""
        ...


class EpochKeys(Protocol):
    """The part of the key store that forgets."""

    def ended_epochs(self, now: datetime) -> list[int]:
        """Return the epochs that are over and have keys or an unconfirmed destruction, oldest first."""
        ...

    def destroy_epoch(self, epoch: int) -> None:
        """Destroy an epoch's keys for good; does nothing if they are gone already."""
        ...

    def confirm_destroyed(self, epoch: int) -> None:
        """Note that an epoch's destruction stands in the log: `ended_epochs` names it no more."""
        ...


class Gallery(Protocol):
    """Templates in memory for walk-through gates: it proposes, the database disposes."""

    def add(self, flight: str, enrollment_id: str, template: Template) -> None:
        """Add or replace one template in a flight's gallery; the template is copied, rotated."""
        ...

    def remove(self, enrollment_id: str) -> None:
        """Overwrite and remove one template wherever it is; does nothing if it is nowhere."""
        ...

    def remove_many(self, enrollment_ids: Collection[str]) -> None:
        """Overwrite and remove templates wherever they are, in one go."""
        ...

    def search(self, probe: Template, *, flight: str | None, k: int) -> list[tuple[str, float]]:
        """Return up to k (enrollment id, cosine), best first, from one flight or from all."""
        ...

    def size(self, flight: str | None = None) -> int:
        """Return how many templates a search would look at."""
        ...

    def ids(self) -> set[str]:
        """Return all enrollment ids in memory."""
        ...


class EnrollmentStore(Protocol):
    """Enrollments in the database. Reads never return an expired one."""

    def add(self, record: EnrollmentRecord) -> None:
        """Add a new enrollment."""
        ...

    def get(self, enrollment_id: str, now: datetime) -> EnrollmentRecord | None:
        """Return the enrollment if it exists and `expires_at > now`, locked until the unit of work ends."""
        ...

    def held(self, token: TravelToken, now: datetime) -> EnrollmentRecord | None:
        """Return the enrollment as `get` does, if this is its token.

        A wrong share takes the same road, and time, as an enrollment that does not exist.
        """
        ...

    def replace(self, record: EnrollmentRecord) -> None:
        """Overwrite the enrollment of the same id."""
        ...

    def delete(self, enrollment_id: str) -> bool:
        """Delete the row; say whether there was one."""
        ...

    def delete_many(self, enrollment_ids: Collection[str]) -> set[str]:
        """Delete rows in one statement; return the ids of those that there were."""
        ...

    def expired(self, now: datetime, limit: int) -> list[EnrollmentRecord]:
        """Return up to `limit` enrollments with `expires_at <= now`, oldest first."""
        ...

    def walk_through(self, now: datetime, window: timedelta) -> Iterator[EnrollmentRecord]:
        """Yield unexpired enrollments that belong in a gallery: consented, and departing within `window` of now."""
        ...


class GateStore(Protocol):
    """Gates in the database."""

    def add(self, gate: Gate) -> None:
        """Add a gate; raise `Conflict` if the id is taken."""
        ...

    def get(self, gate_id: str) -> Gate | None:
        """Return a gate or None."""
        ...

    def replace(self, gate: Gate) -> None:
        """Overwrite the gate of the same id; raise `NotFound` if there is none."""
        ...

    def all(self) -> Sequence[Gate]:
        """Return all gates, by id."""
        ...


class DeviceKeyStore(Protocol):
    """The keys with which gates sign their captures, in the database."""

    def add(self, key: DeviceKey) -> None:
        """Add a key; raise `Conflict` if it was ever registered, at this gate or another."""
        ...

    def get(self, gate_id: str, key_id: str) -> DeviceKey | None:
        """Return a gate's key, also a revoked one; another gate's key is not found."""
        ...

    def all(self, gate_id: str) -> Sequence[DeviceKey]:
        """Return a gate's keys, also revoked ones, oldest first."""
        ...

    def revoke(self, key: DeviceKey, at: datetime) -> None:
        """Revoke a key from `at` on, which leaves an earlier revocation as it was."""
        ...


class NonceStore(Protocol):
    """Which captures a gate has already sent."""

    def seen(self, gate_id: str, nonce: str) -> bool:
        """Say whether the gate used this nonce before."""
        ...

    def add(self, gate_id: str, nonce: str, at: datetime) -> None:
        """Record a nonce; raise `Conflict` (code `replayed`) if it was used, also by a request running beside this."""
        ...

    def forget_before(self, at: datetime) -> int:
        """Delete nonces older than `at`; return how many."""
        ...


class LivenessSessionStore(Protocol):
    """Liveness sessions in the database."""

    def add(self, session: LivenessSession) -> None:
        """Add a new session."""
        ...

    def get(self, session_id: str) -> LivenessSession | None:
        """Return a session, also one that is over."""
        ...

    def replace(self, session: LivenessSession) -> None:
        """Overwrite the session of the same id; raise `NotFound` if there is none."""
        ...

    def redeem(self, session_id: str, gate_id: str, now: datetime) -> bool:
        """Use up a session that succeeded at this gate and is unexpired; True for one caller, also of two at once."""
        ...

    def latest(self, owner: str) -> LivenessSession | None:
        """Return an owner's newest session."""
        ...

    def overdue(self, now: datetime) -> Sequence[LivenessSession]:
        """Return the sessions that are open although `expires_at <= now`."""
        ...

    def forget_before(self, at: datetime) -> int:
        """Delete sessions that expired before `at`; return how many."""
        ...


class AuditLog(Protocol):
    """The tamper-evident log. Appending happens in the unit of work's transaction."""

    def append(self, event: AuditEvent) -> int:
        """Append one event and return its index in the Merkle tree."""
        ...

    def append_many(self, events: Sequence[AuditEvent]) -> Sequence[int]:
        """Append events in their order, at the price of little more than one, and return their indices."""
        ...


class UnitOfWork(Protocol):
    """One database transaction. Leaving the block rolls back; only `commit()` persists."""

    enrollments: EnrollmentStore
    gates: GateStore
    devices: DeviceKeyStore
    nonces: NonceStore
    liveness: LivenessSessionStore
    credentials: CredentialStatuses
    audit: AuditLog

    def __enter__(self) -> Self:
        """Begin, with the write lock held where the database has only one."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back whatever was not committed."""
        ...

    def commit(self) -> None:
        """Persist."""
        ...


class StorageScrubber(Protocol):
    """Removes what deleted rows leave behind in the database's files."""

    def scrub(self) -> None:
        """Overwrite or truncate free pages and journals, as far as the database allows."""
        ...
