"""A witness of the audit log: it sees the log grow, cosigns, and what it signed goes out with the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from pydantic import ValidationError

from infra.audit.audit_verify import verify_bundle, verify_kept
from infra.audit.checkpoint import parse_checkpoint, sign_checkpoint, verifier_key
from infra.audit.cosignature import cosign, cosigner_key
from infra.audit.export import post_quantum_vkey
from infra.settings import Settings
from tests.conftest import LocalSite

REGULATOR = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
NEIGHBOR = MLDSA44PrivateKey.from_seed_bytes(b"n" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
REGULATOR_KEY = cosigner_key("regulator.example/w1", REGULATOR).text
NEIGHBOR_KEY = cosigner_key("neighbor.example", NEIGHBOR).text
NAMES = {REGULATOR: "regulator.example/w1", NEIGHBOR: "neighbor.example", STRANGER: "regulator.example/w1"}
Key = Ed25519PrivateKey | MLDSA44PrivateKey


@pytest.fixture
def site(start_site: Callable[..., LocalSite]) -> LocalSite:
    return start_site(witnesses=f"{REGULATOR_KEY} {NEIGHBOR_KEY}")


def checkpoint(site: LocalSite, **query: int) -> str:
    answer = site.client.get("/v1/audit/checkpoint", params=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def signed_by(text: str, key: Key, time: int) -> str:
    return text + cosign(parse_checkpoint(text), NAMES[key], key, time)


def send(site: LocalSite, note: str | bytes, who: str = "auditor") -> httpx2.Response:
    headers = site.auth(who) | {"Content-Type": "text/plain"}
    return site.client.post("/v1/audit/cosignatures", content=note, headers=headers)


def now(site: LocalSite) -> int:
    return int(site.now().timestamp())


def grow(site: LocalSite) -> None:
    keys = site.client.post("/v1/keys", json={"role": "auditor"}, headers=site.auth("admin"))
    assert keys.status_code == 201


def signers(text: str) -> list[str]:
    return [line.name for line in parse_checkpoint(text).signatures]


@pytest.mark.privacy_row("log_cannot_be_rewritten")
def test_witnesses_cosign_and_the_verifier_takes_their_word(site: LocalSite, tmp_path: Path) -> None:
    first = checkpoint(site)
    grow(site)
    answer = send(site, signed_by(first, REGULATOR, now(site)))
    assert answer.status_code == 200, answer.text
    assert signers(answer.text) == ["test.example", "test.example", "regulator.example/w1"]
    assert send(site, signed_by(first, NEIGHBOR, now(site))).status_code == 200

    assert signers(checkpoint(site)) == ["test.example", "test.example"]  # a newer one, which nobody cosigned yet
    cosigned = checkpoint(site, cosigned=2)
    assert parse_checkpoint(cosigned).signed_text == parse_checkpoint(first).signed_text
    assert signers(cosigned)[2:] == ["neighbor.example", "regulator.example/w1"]
    assert site.client.get("/v1/audit/checkpoint", params={"cosigned": 3}).status_code == 404

    bundle = tmp_path / "audit.jsonl"
    bundle.write_bytes(site.export())
    keys = site.system.storage.keys
    vkey = verifier_key("test.example", keys.signing_key().public_key())
    pins = {"vkey": vkey, "pq_vkey": post_quantum_vkey("test.example", keys.signing_key())}
    report = verify_bundle(bundle, witnesses=[REGULATOR_KEY, NEIGHBOR_KEY], **pins)
    assert report.problems == []
    assert report.post_quantum
    size = parse_checkpoint(first).size
    assert report.witnessed == {"+".join(k.split("+")[:2]): size for k in (REGULATOR_KEY, NEIGHBOR_KEY)}
    stranger = cosigner_key("stranger.example", STRANGER).text
    assert [p.code for p in verify_bundle(bundle, witnesses=[stranger], **pins).problems] == ["not_witnessed"]


def test_a_receipt_is_verified_alone_by_all_keys(site: LocalSite, astronaut_jpeg: bytes, tmp_path: Path) -> None:
    receipt = site.withdraw(site.enroll(astronaut_jpeg).json()).json()["receipt"]
    kept, cosigned = tmp_path / "receipt.json", tmp_path / "checkpoint"
    kept.write_text(json.dumps(receipt))
    cosigned.write_text(send(site, signed_by(checkpoint(site), REGULATOR, now(site))).text)
    keys = site.system.storage.keys
    vkey = verifier_key("test.example", keys.signing_key().public_key())
    second = post_quantum_vkey("test.example", keys.signing_key())
    pins = {"vkey": vkey, "pq_vkey": second, "witnesses": [REGULATOR_KEY]}
    report = verify_kept(receipts=[kept], old_checkpoints=[cosigned], **pins)
    assert report.problems == []
    assert (report.receipts, report.checkpoints, report.post_quantum) == (1, 2, True)
    assert [p.code for p in verify_kept(receipts=[kept], **pins).problems] == ["not_witnessed"]
    kept.write_text(json.dumps(receipt | {"log_index": receipt["log_index"] - 1}))
    report = verify_kept(receipts=[kept], old_checkpoints=[cosigned], **pins)
    assert [p.code for p in report.problems] == ["receipt_invalid"]


def test_a_cosignature_is_kept_once(site: LocalSite) -> None:
    text = checkpoint(site)
    early = send(site, signed_by(text, REGULATOR, now(site) - 1)).text
    late = send(site, signed_by(text, REGULATOR, now(site))).text
    assert signers(early) == signers(late)
    assert early.splitlines()[-1] == late.splitlines()[-1]


def test_what_is_no_witness_of_our_log_is_refused(site: LocalSite) -> None:
    text, time = checkpoint(site), now(site)
    good = signed_by(text, REGULATOR, time)
    size, root = parse_checkpoint(text).size, parse_checkpoint(text).root
    ours = site.system.storage.keys.signing_key()
    forked = sign_checkpoint("test.example", size, bytes(32), ours)
    ahead = sign_checkpoint("test.example", size + 9, root, ours)
    forged = sign_checkpoint("test.example", size, root, STRANGER)
    other_log = sign_checkpoint("other.example", size, root, ours)
    pretended = replace(parse_checkpoint(good).signatures[-1], signature=bytes(72)).line
    cases = {
        (400, "malformed_checkpoint"): ["nonsense", b"\xff\xfe", good.replace("\n\n", "\n")],
        (403, "no_witness"): [text, signed_by(text, STRANGER, time), signed_by(text, REGULATOR, 0)],
        (403, "cosignature_wrong"): [text + pretended],
        (403, "checkpoint_unsigned"): [signed_by(forged, REGULATOR, time)],
        (403, "checkpoint_of_another_log"): [signed_by(other_log, REGULATOR, time)],
        (409, "log_differs"): [signed_by(forked, REGULATOR, time), signed_by(ahead, REGULATOR, time)],
        (409, "witness_clock"): [signed_by(text, REGULATOR, time + 400), signed_by(text, REGULATOR, time - 400)],
    }
    for expected, notes in cases.items():
        for note in notes:
            answer = send(site, note)
            assert (answer.status_code, answer.json()["code"]) == expected
    assert site.client.get("/v1/audit/checkpoint", params={"cosigned": 1}).status_code == 404
    assert send(site, good, who="enroller").status_code == 403
    assert send(site, b"x" * 200_000).status_code == 413


def test_a_site_without_witnesses_takes_no_cosignature(start_site: Callable[..., LocalSite]) -> None:
    site = start_site()
    answer = send(site, signed_by(checkpoint(site), REGULATOR, now(site)))
    assert (answer.status_code, answer.json()["code"]) == (403, "no_witness")


def test_a_setting_that_is_no_witness_stops_the_start() -> None:
    site_key = verifier_key("test.example", REGULATOR.public_key())
    for wrong in ("nonsense", f"{REGULATOR_KEY} x", REGULATOR_KEY[:-4] + "AAA=", site_key):
        with pytest.raises(ValidationError, match="DWARPAL_WITNESSES"):
            Settings(witnesses=wrong)
    assert len(Settings(witnesses=f"{REGULATOR_KEY}\n {NEIGHBOR_KEY}").witness_keys()) == 2
