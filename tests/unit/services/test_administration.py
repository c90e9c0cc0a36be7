"""Gates and keys: each change is logged, or it has not happened."""

from __future__ import annotations

import pytest

from biometrics.errors import Conflict, MalformedInput, NotFound, NotReady
from biometrics.records import DeviceKey, EventKind, Gate, LivenessPolicy, Purpose
from infra.api_keys import Role
from infra.capture_signing import DeviceSigner
from services.administration import (
    POLICY_VERSION,
    add_device_key,
    add_gate,
    add_key,
    change_gate,
    device_keys,
    end_device_key,
)
from services.bootstrap import Storage
from tests.fakes import BrokenSeamError, FakeUnitOfWork
from tests.house import FakeStorage, House

GATE = Gate("t3-entry-1", Purpose.ENTRY, walk_through=True)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def storage(house: House) -> Storage:
    return FakeStorage(house)  # type: ignore[return-value]


def test_a_gate_is_created_and_logged(house: House, storage: Storage) -> None:
    assert add_gate(storage, GATE) == GATE
    assert house.tables.gates[GATE.id] == GATE
    [event] = house.tables.events
    assert (event.kind, event.gate_id, event.purpose) == (EventKind.GATE_CREATED, GATE.id, Purpose.ENTRY)
    assert (event.time, event.policy_version, event.subject) == (house.clock.now(), POLICY_VERSION, None)


def test_a_gates_id_is_taken_once(house: House, storage: Storage) -> None:
    add_gate(storage, GATE)
    with pytest.raises(Conflict) as caught:
        add_gate(storage, Gate(GATE.id, Purpose.BOARDING))
    assert caught.value.code == "gate_exists"
    assert house.tables.gates[GATE.id] == GATE
    assert len(house.tables.events) == 1


def test_a_change_of_policy_is_logged_and_changes_nothing_else(house: House, storage: Storage) -> None:
    add_gate(storage, GATE)
    changed = change_gate(storage, GATE.id, liveness=LivenessPolicy.BOTH)
    assert (changed.liveness, changed.signed_captures, changed.walk_through) == (LivenessPolicy.BOTH, False, True)
    changed = change_gate(storage, GATE.id, signed_captures=True)
    assert house.tables.gates[GATE.id] == changed
    assert (changed.liveness, changed.signed_captures) == (LivenessPolicy.BOTH, True)
    told = [(event.kind, event.reason) for event in house.tables.events[1:]]
    assert told == [(EventKind.GATE_CHANGED, "both/unsigned"), (EventKind.GATE_CHANGED, "both/signed")]
    with pytest.raises(NotFound):
        change_gate(storage, "nowhere", signed_captures=True)


def test_device_keys_come_and_go_with_an_entry_each(house: House, storage: Storage) -> None:
    add_gate(storage, GATE)
    public = DeviceSigner.new().public
    key = add_device_key(storage, GATE.id, public)
    assert (key.id, key.gate_id, key.revoked_at) == (DeviceKey.id_of(public), GATE.id, None)
    house.pass_time(hours=1)
    end_device_key(storage, GATE.id, key.id)
    [kept] = device_keys(storage, GATE.id)
    assert kept.revoked_at == house.clock.now()
    told = [(event.kind, event.reason) for event in house.tables.events[1:]]
    assert told == [(EventKind.DEVICE_KEY_ADDED, key.id), (EventKind.DEVICE_KEY_REVOKED, key.id)]
    for call in (
        lambda: add_device_key(storage, "nowhere", DeviceSigner.new().public),
        lambda: end_device_key(storage, GATE.id, "0" * 32),
        lambda: device_keys(storage, "nowhere"),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(MalformedInput):
        add_device_key(storage, GATE.id, bytes(32))
    with pytest.raises(Conflict):
        add_device_key(storage, GATE.id, public)


def test_walk_through_is_no_purpose_of_a_gate(house: House, storage: Storage) -> None:
    with pytest.raises(MalformedInput) as caught:
        add_gate(storage, Gate("x", Purpose.WALK_THROUGH))
    assert caught.value.code == "not_a_gate_purpose"
    assert not house.journal.calls


@pytest.mark.parametrize("seam", ["gates.add", "audit.append", "unit.commit"])
def test_a_gate_that_cannot_be_logged_does_not_exist(house: House, storage: Storage, seam: str) -> None:
    house.journal.broken = {seam}
    with pytest.raises(BrokenSeamError):
        add_gate(storage, GATE)
    assert GATE.id not in house.tables.gates
    assert not house.tables.events


def test_what_runs_before_the_commit_can_undo_it(house: House, storage: Storage) -> None:
    def refuse(unit: FakeUnitOfWork, gate: Gate) -> None:
        raise NotReady("The answer cannot be kept.")

    with pytest.raises(NotReady):
        add_gate(storage, GATE, before_commit=refuse)  # type: ignore[arg-type]
    assert GATE.id not in house.tables.gates


def test_a_key_for_a_gate_that_does_not_exist_is_not_made(house: House, storage: Storage) -> None:
    with pytest.raises(NotFound):
        add_key(storage, Role.GATE, "nowhere")
    assert not house.tables.events
