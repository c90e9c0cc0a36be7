import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, update
from sqlalchemy.orm import Session

from biometrics.errors import LogInconsistent
from biometrics.records import AuditEvent, Consent, EventKind, Purpose, epoch_of, new_id
from infra.audit import merkle
from infra.audit.canonical import canonical, utc_text
from infra.audit.checkpoint import verify_checkpoint
from infra.audit.log import SqlAuditLog
from infra.audit.tables import AuditCheckpoint, AuditCosignature, AuditEntry, AuditHead, AuditNode
from infra.database.base import Base
from infra.receipts import consent_receipt, deletion_receipt, sign_receipt, verify_receipt
from tests.fakes import FakeKeyStore

SITE = "airport.example"
NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
EXPIRES = NOW + timedelta(hours=24)
EPOCH = epoch_of(EXPIRES)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RECEIPT = sign_receipt("test", {"a": [1, "x", None, True], "b": {"c": -5}, "d": "é"}, KEY, SITE)
TEXT = canonical(RECEIPT)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://", hide_parameters=True)
    tables = [table.__table__ for table in (AuditEntry, AuditNode, AuditHead, AuditCheckpoint, AuditCosignature)]
    Base.metadata.create_all(engine, tables=tables)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def keys() -> FakeKeyStore:
    return FakeKeyStore()


def log_with_a_deletion(session: Session, keys: FakeKeyStore) -> tuple[SqlAuditLog, int]:
    log, subject = SqlAuditLog(session, keys, SITE), new_id()
    keys.epoch_key(EPOCH, create=True)
    for kind in (EventKind.ENROLLED, EventKind.GATE_CREATED, EventKind.WITHDRAWN):
        about = None if kind is EventKind.GATE_CREATED else subject
        expires = EXPIRES if kind is EventKind.ENROLLED else None
        index = log.append(
            AuditEvent(kind, NOW, new_id(), "p/1", subject=about, epoch=about and EPOCH, expires_at=expires)
        )
    return log, index


@given(st.integers(0, len(TEXT) * 8 - 1))
def test_any_flipped_bit_fails(bit: int) -> None:
    raw = bytearray(TEXT)
    raw[bit // 8] ^= 1 << bit % 8
    try:
        receipt = json.loads(raw)
        assert isinstance(receipt, dict)
        if receipt == RECEIPT:  # é may be written \u00e9 or \u00E9: another text, the same receipt
            return
    except (ValueError, AssertionError):
        return
    with pytest.raises(LogInconsistent):
        verify_receipt(receipt, KEY.public_key())


def test_form_and_round_trip() -> None:
    verify_receipt(RECEIPT, KEY.public_key())
    verify_receipt(json.loads(json.dumps(RECEIPT, indent=1)), KEY.public_key())
    assert RECEIPT["type"] == "dwarpal-receipt/v1"
    assert RECEIPT["kind"] == "test"
    with pytest.raises(ValueError, match="envelope"):
        sign_receipt("test", {"kind": "other"}, KEY, SITE)
    with pytest.raises(TypeError, match="floats"):
        sign_receipt("test", {"a": [0.5]}, KEY, SITE)


@pytest.mark.parametrize(
    "changes",
    [
        {"a": [True, "x", None, True]},
        {"a": [1.0, "x", None, True]},
        {"extra": 1},
        {"site": "other.example"},
        {"signature": "AAAA"},
        {"signature": "not base64"},
        {"signature": 5},
        {"type": "dwarpal-receipt/v2"},
        {"key_id": "00000000"},
        {"site": None},
    ],
)
def test_changed_receipts_fail(changes: dict) -> None:
    with pytest.raises(LogInconsistent):
        verify_receipt({**RECEIPT, **changes}, KEY.public_key())


def test_another_key_fails() -> None:
    with pytest.raises(LogInconsistent, match="another key"):
        verify_receipt(RECEIPT, Ed25519PrivateKey.generate().public_key())


def test_a_deletion_receipt_proves_the_deletion(session: Session, keys: FakeKeyStore) -> None:
    log, index = log_with_a_deletion(session, keys)
    key = keys.signing_key()
    receipt = deletion_receipt(log=log, index=index, epoch=EPOCH, now=NOW)
    receipt = json.loads(json.dumps(receipt))
    verify_receipt(receipt, key.public_key())
    head = verify_checkpoint(receipt["checkpoint"], SITE, key.public_key())
    proof = [bytes.fromhex(step) for step in receipt["inclusion_proof"]]
    leaf = receipt["leaf"].encode()
    assert merkle.verify_inclusion(merkle.leaf_hash(leaf), index, head.size, proof, head.root)
    assert json.loads(leaf)["event"] == "withdrawn"
    assert receipt["log_index"] == index
    assert receipt["epoch"] == EPOCH
    assert len(receipt["receipt_id"]) == 32
    assert receipt["epoch_key_hash"] == log.epoch_key_hash(EPOCH)
    assert keys.epoch_key(EPOCH).hex() not in json.dumps(receipt)


def test_no_receipt_for_an_entry_that_was_changed(session: Session, keys: FakeKeyStore) -> None:
    log, index = log_with_a_deletion(session, keys)
    session.execute(update(AuditEntry).where(AuditEntry.index == index).values(leaf=b"{}"))
    with pytest.raises(LogInconsistent):
        deletion_receipt(log=log, index=index, epoch=EPOCH, now=NOW)


def test_a_consent_receipt_says_what_was_agreed() -> None:
    purposes = frozenset({Purpose.SECURITY, Purpose.BOARDING})
    consent = Consent(purposes, "2025-1", "ab" * 32, "hi", NOW)
    enrollment_id = new_id()
    receipt = consent_receipt(
        consent=consent, enrollment_id=enrollment_id, expires_at=EXPIRES, key=KEY, site=SITE, now=NOW
    )
    verify_receipt(receipt, KEY.public_key())
    assert receipt["kind"] == "consent"
    assert receipt["pii_principal_id"] == enrollment_id
    read = {"version": "2025-1", "sha256": "ab" * 32, "language": "hi", "url": "/v1/notice?lang=hi"}
    assert receipt["privacy_notice"] == read
    assert [p["purpose"] for p in receipt["purposes"]] == ["boarding", "security"]
    assert receipt["retention"]["expires_at"] == utc_text(EXPIRES)
    assert receipt["event"]["valid_until"] == utc_text(EXPIRES)
    fields = "record_id parties language pii_information processing_method storage_locations processing_locations"
    for name in f"{fields} geographic_restrictions privacy_rights withdrawal lawful_basis collection_method".split():
        assert receipt[name], name
    assert {item["pii_type"] for item in receipt["pii_information"]} == set(receipt["pii_categories"])
    elsewhere = consent_receipt(
        consent=consent, enrollment_id=enrollment_id, expires_at=EXPIRES, key=KEY, site=SITE, now=NOW, region="IN"
    )
    assert elsewhere["geographic_restrictions"] == "IN"
    with pytest.raises(ValueError, match="zone"):
        utc_text(NOW.replace(tzinfo=None))
