"""Cosignatures in the database, on both kinds of server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from biometrics.errors import NotFound
from biometrics.records import AuditEvent, EventKind, new_id
from infra.audit.checkpoint import parse_checkpoint
from infra.audit.cosignature import cosign, cosigner_key
from infra.audit.witness import Witnessing
from infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes import FakeKeyStore

SITE = "airport.example"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
WITNESSES = {name: Ed25519PrivateKey.generate() for name in ("a.example", "b.example")}


def test_cosignatures_are_kept_by_size_and_witness(engine: Engine) -> None:
    keys = FakeKeyStore()
    configured = [cosigner_key(name, key) for name, key in WITNESSES.items()]

    def unit() -> SqlUnitOfWork:
        return SqlUnitOfWork(engine, keys, SITE)

    def sign(size: int, *names: str, time: int = SECONDS) -> None:
        with unit() as work:
            note = work.log.checkpoint(size, keep=False)
            note += "".join(cosign(parse_checkpoint(note), name, WITNESSES[name], time) for name in names)
            assert Witnessing(work.session, work.log, keys, configured).add(note, SECONDS) == size
            work.commit()

    with unit() as work:
        for _ in range(5):
            work.audit.append(AuditEvent(EventKind.KEY_CREATED, NOW, new_id(), "administration/1"))
        work.commit()
    sign(0, "a.example")  # an empty log may be witnessed as well
    sign(3, "b.example", "a.example")
    sign(3, "a.example", time=SECONDS - 1)  # the first one stays
    sign(5, "a.example")
    with SqlUnitOfWork(engine, keys, SITE, read_only=True) as work:
        witnessing = Witnessing(work.session, work.log, keys, configured)
        assert [witnessing.newest(least) for least in (1, 2)] == [5, 3]
        with pytest.raises(NotFound):
            witnessing.newest(3)
        signers = {size: [line.split()[1] for line in work.log.cosignatures(size)] for size in (0, 1, 3, 5)}
        assert signers == {0: ["a.example"], 1: [], 3: ["a.example", "b.example"], 5: ["a.example"]}
        kept = [parse_checkpoint(text) for text in work.log.checkpoints()]
        assert [(one.size, len(one.signatures)) for one in kept] == [(0, 2), (3, 3), (5, 2)]
        times = {configured[0].verify(one.signatures[1], one) for one in kept}
        assert times == {SECONDS}
