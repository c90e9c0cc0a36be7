"""The log changes its signing key: the former vouches for the new, and then signs nothing more."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, delete
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, LogInconsistent
from biometrics.records import AuditEvent, EventKind, new_id
from infra.audit.checkpoint import parse_checkpoint, verify_checkpoint
from infra.audit.cosignature import ML_DSA_44, cosigner_key, post_quantum_key
from infra.audit.log import SqlAuditLog
from infra.audit.rotation import follow
from infra.audit.tables import AuditCheckpoint, AuditCosignature, AuditEntry, AuditHead, AuditNode
from infra.database.base import Base
from tests.fakes import FakeKeyStore

SITE = "airport.example"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TABLES = [table.__table__ for table in (AuditEntry, AuditNode, AuditHead, AuditCheckpoint, AuditCosignature)]


@pytest.fixture
def log() -> Iterator[SqlAuditLog]:
    engine = create_engine("sqlite://", hide_parameters=True)
    Base.metadata.create_all(engine, tables=TABLES)
    with Session(engine) as session:
        yield SqlAuditLog(session, FakeKeyStore(), SITE)
    engine.dispose()


@pytest.fixture
def keys(log: SqlAuditLog) -> FakeKeyStore:
    store = log._keys
    assert isinstance(store, FakeKeyStore)
    return store


def event() -> AuditEvent:
    return AuditEvent(EventKind.SIGNING_KEY_ROTATED, NOW, new_id(), "keys/1")


def say(log: SqlAuditLog) -> None:
    log.append(AuditEvent(EventKind.KEY_CREATED, NOW, new_id(), "administration/1", reason="gate"))


def rotate(log: SqlAuditLog, keys: FakeKeyStore) -> int:
    keys.next_signing_key()
    index = log.rotate_signing_key(event())
    keys.promote_signing_key(NOW)
    return index


def test_the_new_key_signs_from_the_entry_on_also_before_it_is_promoted(log: SqlAuditLog, keys: FakeKeyStore) -> None:
    say(log)
    old, new = keys.signing_key().public_key(), keys.next_signing_key().public_key()
    assert verify_checkpoint(log.checkpoint(), SITE, old)
    index = log.rotate_signing_key(event())
    say(log)
    assert keys.signing_key().public_key() == old
    beyond = log.checkpoint()
    assert verify_checkpoint(beyond, SITE, new).size == index + 2
    with pytest.raises(LogInconsistent):
        verify_checkpoint(beyond, SITE, old)
    keys.promote_signing_key(NOW)
    assert log.checkpoint() == beyond


def test_the_checkpoint_of_a_rotation_is_signed_by_both_whenever_it_is_asked_for(
    log: SqlAuditLog, keys: FakeKeyStore
) -> None:
    say(log)
    former = keys.signing_key()
    size = rotate(log, keys) + 1
    for _ in range(2):
        text = log.checkpoint(size)
        for key in (former, keys.signing_key()):
            assert verify_checkpoint(text, SITE, key.public_key()).size == size
        say(log)
    second = post_quantum_key(former)
    assert second is not None
    key = cosigner_key(SITE, second)
    assert key.algorithm == ML_DSA_44
    checkpoint = parse_checkpoint(text)
    assert [key.verify(line, checkpoint) for line in checkpoint.signatures if key.made(line)] == [0]


def test_whoever_trusts_a_former_key_follows_to_the_present_one(log: SqlAuditLog, keys: FakeKeyStore) -> None:
    trusted = [keys.signing_key().public_key()]
    for _ in range(3):
        say(log)
        rotate(log, keys)
        trusted.append(keys.signing_key().public_key())
    rotations = log.rotations()
    for number, key in enumerate(trusted):
        assert follow(SITE, key, rotations) == trusted[number:]
    assert follow(SITE, FakeKeyStore().signing_key().public_key(), rotations[:0])


def test_a_rotation_that_is_not_what_it_says_is_not_followed(log: SqlAuditLog, keys: FakeKeyStore) -> None:
    trusted = keys.signing_key().public_key()
    for _ in range(2):
        say(log)
        rotate(log, keys)
    first, second = log.rotations()
    thief = FakeKeyStore()
    stolen = replace(first.keys, new_key=thief.signing_key().public_key().public_bytes_raw().hex())
    for forged in (
        replace(first, keys=stolen),
        replace(first, keys=stolen, leaf=first.leaf.replace(first.keys.new_key.encode(), stolen.new_key.encode())),
        replace(first, leaf=first.leaf.replace(b"keys/1", b"keys/2")),
        replace(first, index=0),
        replace(first, proof=(*first.proof, bytes(32))),
        replace(first, checkpoint=second.checkpoint),
        replace(first, keys=replace(first.keys, new_key="00")),
    ):
        with pytest.raises(LogInconsistent):
            follow(SITE, trusted, [forged, second])
    with pytest.raises(LogInconsistent, match="no chain"):
        follow(SITE, trusted, [first, replace(second, keys=replace(second.keys, old_key="00" * 32))])


def test_of_two_rotations_at_once_the_second_does_not_break_the_chain(log: SqlAuditLog, keys: FakeKeyStore) -> None:
    keys.next_signing_key()
    log.rotate_signing_key(event())
    with pytest.raises(Conflict):  # to the same key again
        log.rotate_signing_key(event())


def test_a_rotation_whose_checkpoint_was_taken_away_is_noticed(log: SqlAuditLog, keys: FakeKeyStore) -> None:
    size = rotate(log, keys) + 1
    log._session.execute(delete(AuditCheckpoint))
    with pytest.raises(LogInconsistent):
        log.checkpoint(size)
