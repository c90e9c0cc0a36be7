"""Fakes at the Protocol seams: one for each Protocol, real in behavior, without disk, clock or network."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from biometrics.credentials import StatusPlace
from biometrics.errors import Conflict, KeyDestroyed, NotFound, NotReady, SealBroken
from biometrics.ports import UnitOfWork
from biometrics.records import (
    AuditEvent,
    DeviceKey,
    EnrollmentRecord,
    EventKind,
    Gate,
    Purpose,
    SealedTemplate,
    TravelToken,
    epoch_end,
    latest_expiry,
)
from biometrics.sessions import LivenessSession, LivenessStatus
from biometrics.types import EMBEDDING_SIZE, Face, FloatArray, Pixels, Template
from infra.keys.store import RetiredKey
from liveness.pad import BurstAssessment, PadAssessment, fused


class FakeClock:
    """A `Clock` that stands still until a test moves it."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


class FakeKeyStore:
    """A `KeyStore` in memory."""

    def __init__(self) -> None:
        self.keys: dict[int, tuple[bytes, bytes]] = {}
        self.destroyed: set[int] = set()
        self.unconfirmed: set[int] = set()
        self._signing_key = Ed25519PrivateKey.generate()
        self._next: Ed25519PrivateKey | None = None
        self._retired: list[RetiredKey] = []

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._pair(epoch, create)[0]

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._pair(epoch, create)[1]

    def signing_key(self) -> Ed25519PrivateKey:
        return self._signing_key

    def next_signing_key(self) -> Ed25519PrivateKey:
        self._next = self._next or Ed25519PrivateKey.generate()
        return self._next

    def prepared_signing_key(self) -> Ed25519PrivateKey | None:
        return self._next

    def promote_signing_key(self, now: datetime) -> None:
        if self._next is not None:
            self._retired.append(RetiredKey(self._signing_key.public_key(), now))
            self._signing_key, self._next = self._next, None

    def retired_signing_keys(self) -> tuple[RetiredKey, ...]:
        return tuple(self._retired)

    def ended_epochs(self, now: datetime) -> list[int]:
        return sorted(epoch for epoch in self.keys.keys() | self.unconfirmed if epoch_end(epoch) <= now)

    def destroy_epoch(self, epoch: int) -> None:
        if self.keys.pop(epoch, None) is not None:
            self.unconfirmed.add(epoch)
        self.destroyed.add(epoch)

    def confirm_destroyed(self, epoch: int) -> None:
        self.unconfirmed.discard(epoch)

    def _pair(self, epoch: int, create: bool) -> tuple[bytes, bytes]:
        if epoch in self.destroyed or (epoch not in self.keys and not create):
            raise KeyDestroyed("This epoch is over.")
        return self.keys.setdefault(epoch, (secrets.token_bytes(32), secrets.token_bytes(32)))


class FakeNetwork:
    """A `Network` that returns what a function makes of the batch, and remembers the batches' shapes."""

    provider_name = "fake"

    def __init__(self, answer: Callable[[FloatArray], list[FloatArray]]) -> None:
        self._answer = answer
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: FloatArray) -> list[FloatArray]:
        self.shapes.append(batch.shape)
        return self._answer(batch)


class FakeFaceDetector:
    """A `FaceDetector` that finds the same faces in every image."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: Pixels) -> list[Face]:
        return list(self.faces)


class FakeFaceEmbedder:
    """A `FaceEmbedder` whose template depends on the mean color of each of 8 x 8 fields, and on nothing else."""

    model_digest = "f" * 64

    def embed(self, aligned: Pixels) -> Template:
        fields = aligned.reshape(8, 14, 8, 14, 3).mean(axis=(1, 3)).ravel() - 127.5
        vector = np.zeros(EMBEDDING_SIZE, np.float32)
        vector[: fields.size] = fields
        vector[-1] = 1.0
        return Template(vector / np.linalg.norm(vector))

    def embed_many(self, aligned: Sequence[Pixels]) -> FloatArray:
        return np.stack([self.embed(face).vector for face in aligned])


class FakePadDetector:
    """A `PadDetector` to whom the brighter half of all images is alive; the score is the mean brightness, 0-1."""

    model_digest = "e" * 64

    def assess(self, image: Pixels, face: Face) -> PadAssessment:
        score = float(image.mean()) / 255
        return PadAssessment(score >= 0.5, score)

    def assess_burst(self, images: Sequence[Pixels], faces: Sequence[Face]) -> BurstAssessment:
        frames = tuple(self.assess(image, face) for image, face in zip(images, faces, strict=True))
        return BurstAssessment(fused([frame.score for frame in frames]) >= 0.5, frames)


class FakeLivenessProofs:
    """`LivenessProofs` that redeems each session once, at its gate, for its face."""

    def __init__(self) -> None:
        self.sessions: dict[str, tuple[str, FloatArray]] = {}

    def redeem(self, unit: UnitOfWork, session_id: str, gate_id: str, probe: Template, now: datetime) -> bool:
        at, face = self.sessions.pop(session_id, ("", probe.vector))
        return at == gate_id and float(face @ probe.vector) >= 0.5


class FakeSealer:
    """A `TemplateSealer` without a cipher: it says who may open, by digests of the same keys as the real one's."""

    def __init__(self, keys: FakeKeyStore) -> None:
        self._keys = keys

    def seal(
        self, template: Template, *, token: TravelToken, epoch: int, model_digest: str, for_gallery: bool
    ) -> SealedTemplate:
        key = self._keys.epoch_key(epoch, create=True)
        about = f"{token.enrollment_id}|{model_digest}|{epoch}".encode()
        return SealedTemplate(
            envelope=template.vector.tobytes(),
            for_holder=_wrapped(key, token.share, about),
            for_gallery=_wrapped(key, b"", about) if for_gallery else None,
        )

    def open_with_token(self, record: EnrollmentRecord, token: TravelToken) -> Template:
        return self._open(record, record.sealed.for_holder, token.share)

    def open_for_gallery(self, record: EnrollmentRecord) -> Template:
        return self._open(record, record.sealed.for_gallery, b"")

    def _open(self, record: EnrollmentRecord, wrapped: bytes | None, share: bytes) -> Template:
        key = self._keys.epoch_key(record.epoch)
        about = f"{record.id}|{record.model_digest}|{record.epoch}".encode()
        if wrapped != _wrapped(key, share, about):
            raise SealBroken("These do not belong together.")
        return Template(np.frombuffer(record.sealed.envelope, np.float32).copy())


def _wrapped(key: bytes, share: bytes, about: bytes) -> bytes:
    return hashlib.sha256(key + b"|" + share + b"|" + about).digest()


class FakeGallery:
    """A `Gallery` that compares one by one."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, FloatArray]] = {}

    def add(self, flight: str, enrollment_id: str, template: Template) -> None:
        self.rows[enrollment_id] = (flight, template.vector.copy())

    def remove(self, enrollment_id: str) -> None:
        self.rows.pop(enrollment_id, None)

    def remove_many(self, enrollment_ids: Collection[str]) -> None:
        for enrollment_id in enrollment_ids:
            self.remove(enrollment_id)

    def search(self, probe: Template, *, flight: str | None, k: int) -> list[tuple[str, float]]:
        found = [(i, float(probe.vector @ v)) for i, (f, v) in self.rows.items() if flight in (None, f)]
        return sorted(found, key=lambda hit: -hit[1])[:k]

    def size(self, flight: str | None = None) -> int:
        return sum(flight in (None, f) for f, _ in self.rows.values())

    def ids(self) -> set[str]:
        return set(self.rows)


class FakeScrubber:
    """A `StorageScrubber` that a test can keep from its work."""

    def __init__(self) -> None:
        self.hindered = False

    def scrub(self) -> None:
        if self.hindered:
            raise NotReady("A reader is in the way.")


class BrokenSeamError(Exception):
    """What a seam raises that a test has broken."""


class Journal:
    """Which calls crossed a seam, in order; a test can break a seam, or have something happen when it is crossed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.templates: list[Template] = []
        self.broken: set[str] = set()
        self.when: dict[str, Callable[[], None]] = {}

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.when:
            self.when.pop(call)()
        if call in self.broken:
            raise BrokenSeamError(call)


class Watched:
    """Any fake, with each of its calls noted in a journal under `name.method`, and the templates that it made."""

    def __init__(self, fake: object, name: str, journal: Journal) -> None:
        self._fake, self._name, self._journal = fake, name, journal

    def __getattr__(self, attribute: str) -> object:
        found = getattr(self._fake, attribute)
        if not callable(found):
            return found

        def call(*args: object, **options: object) -> object:
            self._journal.note(f"{self._name}.{attribute}")
            result = found(*args, **options)
            if isinstance(result, Template):
                self._journal.templates.append(result)
            return result

        return call


@dataclass
class FakeTables:
    """What a `FakeUnitOfWork` reads, and writes on commit."""

    enrollments: dict[str, EnrollmentRecord] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    devices: dict[str, DeviceKey] = field(default_factory=dict)
    nonces: dict[tuple[str, str], datetime] = field(default_factory=dict)
    liveness: dict[str, LivenessSession] = field(default_factory=dict)
    credentials: dict[StatusPlace, bool] = field(default_factory=dict)
    events: list[AuditEvent] = field(default_factory=list)


class FakeEnrollmentStore:
    """An `EnrollmentStore` on a dict."""

    def __init__(self, rows: dict[str, EnrollmentRecord]) -> None:
        self._rows = rows

    def add(self, record: EnrollmentRecord) -> None:
        if record.id in self._rows:
            raise Conflict("This enrollment exists already.")
        self._put(record)

    def get(self, enrollment_id: str, now: datetime) -> EnrollmentRecord | None:
        record = self._rows.get(enrollment_id)
        return record if record is not None and record.expires_at > now else None

    def held(self, token: TravelToken, now: datetime) -> EnrollmentRecord | None:
        record = self.get(token.enrollment_id, now)
        return record if record is not None and token.opens(record) else None

    def replace(self, record: EnrollmentRecord) -> None:
        if record.id not in self._rows:
            raise NotFound
        self._put(record)

    def delete(self, enrollment_id: str) -> bool:
        return self._rows.pop(enrollment_id, None) is not None

    def delete_many(self, enrollment_ids: Collection[str]) -> set[str]:
        return {enrollment_id for enrollment_id in enrollment_ids if self.delete(enrollment_id)}

    def expired(self, now: datetime, limit: int) -> list[EnrollmentRecord]:
        over = [record for record in self._rows.values() if record.expires_at <= now]
        return sorted(over, key=lambda record: record.expires_at)[:limit]

    def walk_through(self, now: datetime, window: timedelta) -> Iterator[EnrollmentRecord]:
        for record in self._rows.values():
            consented = Purpose.WALK_THROUGH in record.consent.purposes and record.sealed.for_gallery is not None
            soon = record.departs_at is not None and now <= record.departs_at <= now + window
            if consented and soon and record.expires_at > now:
                yield record

    def _put(self, record: EnrollmentRecord) -> None:
        if record.expires_at > latest_expiry(record.enrolled_at, record.departs_at):
            raise Conflict("A template may not be kept this long.", code="retention_exceeded")
        self._rows[record.id] = record


class FakeGateStore:
    """A `GateStore` on a dict."""

    def __init__(self, rows: dict[str, Gate]) -> None:
        self._rows = rows

    def add(self, gate: Gate) -> None:
        if gate.id in self._rows:
            raise Conflict("There is a gate of this name already.", code="gate_exists")
        self._rows[gate.id] = gate

    def get(self, gate_id: str) -> Gate | None:
        return self._rows.get(gate_id)

    def replace(self, gate: Gate) -> None:
        if gate.id not in self._rows:
            raise NotFound
        self._rows[gate.id] = gate

    def all(self) -> Sequence[Gate]:
        return [self._rows[gate_id] for gate_id in sorted(self._rows)]


class FakeDeviceKeyStore:
    """A `DeviceKeyStore` on a dict."""

    def __init__(self, rows: dict[str, DeviceKey]) -> None:
        self._rows = rows

    def add(self, key: DeviceKey) -> None:
        if key.id in self._rows:
            raise Conflict("This key is or was registered already: make a new one.", code="device_key_exists")
        self._rows[key.id] = key

    def get(self, gate_id: str, key_id: str) -> DeviceKey | None:
        key = self._rows.get(key_id)
        return key if key is not None and key.gate_id == gate_id else None

    def all(self, gate_id: str) -> Sequence[DeviceKey]:
        return sorted((k for k in self._rows.values() if k.gate_id == gate_id), key=lambda k: k.created_at)

    def revoke(self, key: DeviceKey, at: datetime) -> None:
        if self._rows[key.id].revoked_at is None:
            self._rows[key.id] = replace(key, revoked_at=at)


class FakeNonceStore:
    """A `NonceStore` on a dict."""

    def __init__(self, rows: dict[tuple[str, str], datetime]) -> None:
        self._rows = rows

    def seen(self, gate_id: str, nonce: str) -> bool:
        return (gate_id, nonce) in self._rows

    def add(self, gate_id: str, nonce: str, at: datetime) -> None:
        if self.seen(gate_id, nonce):
            raise Conflict("This capture was sent before.", code="replayed")
        self._rows[gate_id, nonce] = at

    def forget_before(self, at: datetime) -> int:
        old = [key for key, time in self._rows.items() if time < at]
        for key in old:
            del self._rows[key]
        return len(old)


class FakeLivenessSessionStore:
    """A `LivenessSessionStore` on a dict."""

    def __init__(self, rows: dict[str, LivenessSession]) -> None:
        self._rows = rows

    def add(self, session: LivenessSession) -> None:
        self._rows[session.id] = session

    def get(self, session_id: str) -> LivenessSession | None:
        return self._rows.get(session_id)

    def replace(self, session: LivenessSession) -> None:
        if session.id not in self._rows:
            raise NotFound
        self._rows[session.id] = session

    def redeem(self, session_id: str, gate_id: str, now: datetime) -> bool:
        row = self._rows.get(session_id)
        if row is None or row.gate_id != gate_id or row.redeemed_at is not None:
            return False
        if row.status is not LivenessStatus.SUCCEEDED or row.expires_at <= now:
            return False
        self._rows[session_id] = replace(row, redeemed_at=now)
        return True

    def latest(self, owner: str) -> LivenessSession | None:
        return max((s for s in self._rows.values() if s.owner == owner), key=lambda s: s.created_at, default=None)

    def overdue(self, now: datetime) -> Sequence[LivenessSession]:
        return [s for s in self._rows.values() if s.status.is_open and s.expires_at <= now]

    def forget_before(self, at: datetime) -> int:
        old = [s.id for s in self._rows.values() if s.expires_at < at]
        for session_id in old:
            del self._rows[session_id]
        return len(old)


class FakeCredentialStatuses:
    """`CredentialStatuses` on a dict."""

    def __init__(self, rows: dict[StatusPlace, bool]) -> None:
        self._rows = rows

    def add(self, place: StatusPlace) -> bool:
        if place in self._rows:
            return False
        self._rows[place] = False
        return True

    def revoked(self, place: StatusPlace) -> bool | None:
        return self._rows.get(place)

    def revoke(self, place: StatusPlace) -> None:
        if place in self._rows:
            self._rows[place] = True

    def all_revoked(self, epoch: int) -> list[int]:
        return sorted(place.index for place, revoked in self._rows.items() if revoked and place.epoch == epoch)

    def expired(self, epoch: int, limit: int) -> list[tuple[StatusPlace, bool]]:
        over = [(place, revoked) for place, revoked in self._rows.items() if place.epoch <= epoch]
        return sorted(over, key=lambda row: (row[0].epoch, row[0].index))[:limit]

    def delete(self, place: StatusPlace) -> bool:
        return self._rows.pop(place, None) is not None


class FakeAuditLog:
    """An `AuditLog` on a list; as the real one it needs the epoch's key for every subject but an expired one's."""

    def __init__(self, events: list[AuditEvent], keys: FakeKeyStore) -> None:
        self._events, self._keys = events, keys

    def append(self, event: AuditEvent) -> int:
        if event.subject is not None and event.kind is not EventKind.EXPIRED:
            assert event.epoch is not None
            self._keys.audit_key(event.epoch, create=event.kind in (EventKind.ENROLLED, EventKind.MOVED_IN))
        self._events.append(event)
        return len(self._events) - 1

    def append_many(self, events: Sequence[AuditEvent]) -> list[int]:
        return [self.append(event) for event in events]


class FakeUnitOfWork:
    """A `UnitOfWork` on a copy of the tables, which takes their place on commit."""

    def __init__(self, tables: FakeTables, keys: FakeKeyStore, journal: Journal) -> None:
        self._tables, self._keys, self._journal = tables, keys, journal

    def __enter__(self) -> Self:
        self._journal.note("unit.begin")
        self._copy = deepcopy(self._tables)
        stores = {
            "enrollments": FakeEnrollmentStore(self._copy.enrollments),
            "gates": FakeGateStore(self._copy.gates),
            "devices": FakeDeviceKeyStore(self._copy.devices),
            "nonces": FakeNonceStore(self._copy.nonces),
            "liveness": FakeLivenessSessionStore(self._copy.liveness),
            "credentials": FakeCredentialStatuses(self._copy.credentials),
            "audit": FakeAuditLog(self._copy.events, self._keys),
        }
        for name, store in stores.items():
            setattr(self, name, Watched(store, name, self._journal))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.calls.append("unit.end")

    def commit(self) -> None:
        self._journal.note("unit.commit")
        vars(self._tables).update(vars(deepcopy(self._copy)))
