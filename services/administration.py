"""Gates and keys, as the HTTP interface and the command line both manage them: each change is logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from biometrics.errors import MalformedInput, NotFound
from biometrics.records import GATE_PURPOSES, AuditEvent, DeviceKey, EventKind, Gate, LivenessPolicy, new_id
from infra.api_keys import Role, create_key, revoke_key
from infra.capture_signing import is_public_key
from infra.database.unit_of_work import SqlUnitOfWork
from services.bootstrap import Storage

POLICY_VERSION = "administration/1"


def add_gate(
    storage: Storage, gate: Gate, *, before_commit: Callable[[SqlUnitOfWork, Gate], None] = lambda unit, gate: None
) -> Gate:
    """Create a gate; raise `Conflict` if its id is taken, `MalformedInput` for a purpose that is no gate's."""
    if gate.purpose not in GATE_PURPOSES:
        raise MalformedInput("A gate serves entry, security or boarding.", code="not_a_gate_purpose")
    with storage.unit_of_work() as unit:
        unit.gates.add(gate)
        _log(storage, unit, EventKind.GATE_CREATED, gate)
        before_commit(unit, gate)
        unit.commit()
    return gate


def change_gate(
    storage: Storage, gate_id: str, *, liveness: LivenessPolicy | None = None, signed_captures: bool | None = None
) -> Gate:
    """Change a gate's policy against attacks; None leaves what there is. Raises `NotFound` if there is no such gate."""
    with storage.unit_of_work() as unit:
        before = _gate(unit, gate_id)
        gate = replace(
            before,
            liveness=before.liveness if liveness is None else liveness,
            signed_captures=before.signed_captures if signed_captures is None else signed_captures,
        )
        unit.gates.replace(gate)
        signed = "signed" if gate.signed_captures else "unsigned"
        _log(storage, unit, EventKind.GATE_CHANGED, gate, reason=f"{gate.liveness.value}/{signed}")
        unit.commit()
    return gate


def add_device_key(
    storage: Storage,
    gate_id: str,
    public: bytes,
    *,
    before_commit: Callable[[SqlUnitOfWork, DeviceKey], None] = lambda unit, key: None,
) -> DeviceKey:
    """Register the public half of a device's key for a gate.

    Raises `NotFound` if there is no such gate, `MalformedInput` for anything but an Ed25519 public key, `Conflict` if
    the key is or was registered somewhere.
    """
    if not is_public_key(public):
        raise MalformedInput("This is not an Ed25519 public key.", code="malformed_device_key")
    with storage.unit_of_work() as unit:
        gate = _gate(unit, gate_id)
        key = DeviceKey(DeviceKey.id_of(public), gate.id, public, storage.now())
        unit.devices.add(key)
        _log(storage, unit, EventKind.DEVICE_KEY_ADDED, gate, reason=key.id)
        before_commit(unit, key)
        unit.commit()
    return key


def end_device_key(storage: Storage, gate_id: str, key_id: str) -> None:
    """Revoke a device's key at once and for good; raise `NotFound` if the gate has none of this id."""
    with storage.unit_of_work() as unit:
        gate = _gate(unit, gate_id)
        if (key := unit.devices.get(gate_id, key_id)) is None:
            raise NotFound
        unit.devices.revoke(key, storage.now())
        _log(storage, unit, EventKind.DEVICE_KEY_REVOKED, gate, reason=key.id)
        unit.commit()


def device_keys(storage: Storage, gate_id: str) -> list[DeviceKey]:
    """Return a gate's device keys, also revoked ones, oldest first; raise `NotFound` if there is no such gate."""
    with storage.reading() as unit:
        return list(unit.devices.all(_gate(unit, gate_id).id))


def _gate(unit: SqlUnitOfWork, gate_id: str) -> Gate:
    if (gate := unit.gates.get(gate_id)) is None:
        raise NotFound("There is no such gate.")
    return gate


def add_key(
    storage: Storage,
    role: Role,
    gate_id: str | None,
    *,
    before_commit: Callable[[SqlUnitOfWork, str, str], None] = lambda unit, key_id, text: None,
) -> tuple[str, str]:
    """Create a key and return its id and its text, told once; raise `NotFound` for a gate that does not exist."""
    with storage.unit_of_work() as unit:
        gate = None if gate_id is None else _gate(unit, gate_id)
        key_id, text = create_key(unit.session, role, gate_id, storage.now())
        _log(storage, unit, EventKind.KEY_CREATED, gate, reason=role.value)
        before_commit(unit, key_id, text)
        unit.commit()
    return key_id, text


def end_key(storage: Storage, key_id: str) -> None:
    """Revoke a key at once; raise `NotFound` if there is none."""
    with storage.unit_of_work() as unit:
        key = revoke_key(unit.session, key_id, storage.now())
        gate = unit.gates.get(key.gate_id) if key.gate_id else None
        _log(storage, unit, EventKind.KEY_REVOKED, gate, reason=key.role.value)
        unit.commit()


def _log(storage: Storage, unit: SqlUnitOfWork, kind: EventKind, gate: Gate | None, reason: str | None = None) -> None:
    unit.audit.append(
        AuditEvent(
            kind,
            storage.now(),
            new_id(),
            POLICY_VERSION,
            gate_id=gate.id if gate else None,
            purpose=gate.purpose if gate else None,
            reason=reason,
        )
    )
