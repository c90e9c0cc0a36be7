"""Who may do what: roles, holders, and enrollments that are not one's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from biometrics.errors import NotFound, NotPermitted
from biometrics.records import TravelToken
from enrollment.enroll import Enrolled
from infra.api_keys import Role
from services.api.auth import Caller, allow, own_record
from services.bootstrap import Dwarpal
from tests.house import FakeStorage, House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def system(house: House) -> Dwarpal:
    return SimpleNamespace(storage=FakeStorage(house))  # type: ignore[return-value]


@pytest.fixture
def enrolled(house: House) -> Enrolled:
    return house.enroll()


def key(role: Role) -> Caller:
    return Caller(role, f"key:{role}")


def holder(token: TravelToken) -> Caller:
    return Caller(None, "holder", token=token)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("allowed", list(Role))
def test_a_role_may_do_what_names_it_and_admin_is_no_exception(role: Role, allowed: Role) -> None:
    permitted = allow(allowed)
    if role is allowed:
        assert permitted(key(role)) == key(role)
    else:
        with pytest.raises(NotPermitted):
            permitted(key(role))


def test_a_holder_passes_only_where_holders_are_meant(enrolled: Enrolled) -> None:
    caller = holder(enrolled.token)
    assert allow(holder=True)(caller) is caller
    assert allow(Role.OFFICER, holder=True)(key(Role.OFFICER))
    with pytest.raises(NotPermitted):
        allow(*Role)(caller)
    with pytest.raises(NotPermitted):
        allow(holder=True)(key(Role.ADMIN))


def test_holders_see_their_own_enrollment_and_staff_any(system: Dwarpal, enrolled: Enrolled) -> None:
    assert own_record(system, holder(enrolled.token), enrolled.record.id) == enrolled.record
    assert own_record(system, key(Role.OFFICER), enrolled.record.id) == enrolled.record


def test_unknown_not_yours_expired_and_forged_are_never_told_apart(
    system: Dwarpal, house: House, enrolled: Enrolled
) -> None:
    other = house.enroll(2)
    forged = TravelToken.new(enrolled.record.id)
    unknown = TravelToken.new("0" * 32)
    said = set()
    for caller, wanted in (
        (holder(other.token), enrolled.record.id),
        (holder(forged), enrolled.record.id),
        (holder(unknown), unknown.enrollment_id),
        (key(Role.OFFICER), "0" * 32),
    ):
        with pytest.raises(NotFound) as caught:
            own_record(system, caller, wanted)
        said.add((caught.value.code, caught.value.detail))
    house.clock.time = enrolled.record.expires_at
    with pytest.raises(NotFound) as caught:
        own_record(system, holder(enrolled.token), enrolled.record.id)
    assert said == {(caught.value.code, caught.value.detail)}


def test_a_caller_is_silent_about_its_secrets(enrolled: Enrolled) -> None:
    printed = repr(Caller(None, f"holder:{enrolled.record.id}", token=enrolled.token))
    assert enrolled.record.id not in printed
