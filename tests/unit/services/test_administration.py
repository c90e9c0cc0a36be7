"""Gates and keys: each change is logged, or it has not happened."""

from __future__ import annotations

import pytest

from biometrics.errors import Conflict, MalformedInput, NotFound, NotReady
from biometrics.records import EventKind, Gate, Purpose
from infra.api_keys import Role
from services.administration import POLICY_VERSION, add_gate, add_key
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
