"""Sessions of pages in both databases: in force, renewed, over, closed, forgotten."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from biometrics.errors import NotAuthenticated
from biometrics.records import TravelToken
from infra.api_keys import Role, authenticate, create_key, revoke_key
from infra.database.tables import WebSessionRow
from infra.web_sessions import GATE, HOLDER, STAFF, WebSessions
from tests.factories import NOON

TOKEN = TravelToken("0" * 32, bytes(range(32)))
SECOND = timedelta(seconds=1)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_a_holder_s_session_gives_the_token_back_and_ends(session: Session) -> None:
    sessions = WebSessions(session)
    cookie = sessions.open(TOKEN, NOON)
    found = sessions.find(cookie, NOON + HOLDER.idle - SECOND)
    assert found.token == TOKEN
    assert found.key is None
    assert found.stale
    with pytest.raises(NotAuthenticated):
        sessions.find(cookie, NOON + HOLDER.idle)


def test_use_renews_a_session_but_never_past_its_longest(session: Session) -> None:
    sessions = WebSessions(session)
    cookie, now = sessions.open(TOKEN, NOON), NOON
    while now + HOLDER.idle / 2 < NOON + HOLDER.longest:
        now += HOLDER.idle / 2
        sessions.renew(cookie, sessions.find(cookie, now), now)
    with pytest.raises(NotAuthenticated):
        sessions.find(cookie, NOON + HOLDER.longest)


@pytest.mark.parametrize(("role", "life"), [(Role.GATE, GATE), (Role.OFFICER, STAFF), (Role.ADMIN, STAFF)])
def test_a_key_s_session_lives_as_its_role_does_and_dies_with_the_key(
    session: Session, role: Role, life: object
) -> None:
    key_id, text = create_key(session, role, "entry-1" if role is Role.GATE else None, NOON)
    key = authenticate(session, text)
    sessions = WebSessions(session)
    cookie = sessions.open(key, NOON)
    assert life in (GATE, STAFF)
    assert sessions.find(cookie, NOON).key == key
    assert not sessions.find(cookie, NOON).stale
    with pytest.raises(NotAuthenticated):
        sessions.find(cookie, NOON + (GATE if role is Role.GATE else STAFF).idle)
    revoke_key(session, key_id, NOON)
    with pytest.raises(NotAuthenticated):
        sessions.find(cookie, NOON)


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "é" * 43, "A" * 44, "A" * 4000])
def test_what_is_no_cookie_of_ours_opens_and_closes_nothing(session: Session, cookie: str) -> None:
    sessions = WebSessions(session)
    own = sessions.open(TOKEN, NOON)
    with pytest.raises(NotAuthenticated):
        sessions.find(cookie, NOON)
    sessions.close(cookie)
    assert sessions.find(own, NOON).token == TOKEN


def test_closing_and_forgetting(session: Session) -> None:
    sessions = WebSessions(session)
    first, second = sessions.open(TOKEN, NOON), sessions.open(TOKEN, NOON + SECOND)
    assert sessions.find(first, NOON).csrf != sessions.find(second, NOON).csrf
    sessions.forget_before(NOON + HOLDER.idle)
    assert session.scalar(select(func.count()).select_from(WebSessionRow)) == 1
    sessions.close(second)
    with pytest.raises(NotAuthenticated):
        sessions.find(second, NOON + SECOND)
