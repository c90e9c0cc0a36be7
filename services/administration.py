"""Gates and keys, as the HTTP interface and the command line both manage them: each change is logged."""

from __future__ import annotations

from collections.abc import Callable

from biometrics.errors import MalformedInput, NotFound
from biometrics.records import GATE_PURPOSES, AuditEvent, EventKind, Gate, new_id
from infra.api_keys import Role, create_key, revoke_key
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


def add_key(
    storage: Storage,
    role: Role,
    gate_id: str | None,
    *,
    before_commit: Callable[[SqlUnitOfWork, str, str], None] = lambda unit, key_id, text: None,
) -> tuple[str, str]:
    """Create a key and return its id and its text, told once; raise `NotFound` for a gate that does not exist."""
    with storage.unit_of_work() as unit:
        gate = None
        if gate_id is not None and (gate := unit.gates.get(gate_id)) is None:
            raise NotFound("There is no such gate.")
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
