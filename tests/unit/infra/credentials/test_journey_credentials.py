"""Journey credentials: the golden vectors, made without this code, and that nothing but the right keys opens them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from biometrics.comparison import cosine
from biometrics.credentials import END_OF_EPOCHS, LIST_SIZE, JourneyCredential, StatusPlace
from biometrics.errors import DwarpalError, KeyDestroyed, MalformedInput, NotPermitted, SealBroken
from biometrics.quantization import restore
from biometrics.records import GATE_PURPOSES, Gate, Purpose, epoch_end, epoch_of
from infra.credentials.journey import SiteCredentials
from infra.credentials.qr import qr_png, qr_version
from infra.credentials.sd_jwt import MOST_CHARACTERS, SdJwt
from infra.credentials.status_list import is_revoked
from tests.factories import make_template
from tests.fakes import FakeCredentialStatuses, FakeKeyStore, FakeTables, FakeUnitOfWork, Journal
from verification.credential_check import CredentialChecks, FailureMemory
from verification.policy import LockoutPolicy

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "credentials" / "cases.json").read_text())
NOW = datetime.fromtimestamp(VECTORS["now"], UTC)
VALID: str = VECTORS["cases"]["valid"]["credential"]
GATE = Gate("entry-1", Purpose.ENTRY)


def vector_keys() -> FakeKeyStore:
    keys = FakeKeyStore()
    keys._signing_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["signing_seed"]))
    keys.keys = {int(epoch): (bytes.fromhex(key), bytes(32)) for epoch, key in VECTORS["epoch_keys"].items()}
    return keys


SITE = SiteCredentials(vector_keys(), VECTORS["site"])


def answer(text: str, probe_hex: str, now: datetime = NOW) -> str:
    """Return what a gate says, after the rules of `credential_check.py` and a status store as the vectors describe."""
    tables = FakeTables()
    statuses = FakeCredentialStatuses(tables.credentials)
    for place in (SITE.read(VALID).place, StatusPlace.parse(VECTORS["revoked"])):
        statuses.add(place)
    statuses.revoke(StatusPlace.parse(VECTORS["revoked"]))
    checks = CredentialChecks(SITE, FailureMemory(LockoutPolicy(5, epoch_end(1) - epoch_end(0))), lambda: 0.5)
    with FakeUnitOfWork(tables, FakeKeyStore(), Journal()) as unit, restore(bytes.fromhex(probe_hex)) as probe:
        found = checks.disposes(unit, checks.read(text), now)
        if not isinstance(found, JourneyCredential):
            return found.value
        objection = checks.allows(found, GATE, None, VECTORS["model_digest"], now)
        decision = objection or checks.compare(found, probe)
        return "admit" if decision.admits else decision.reason.value


@pytest.mark.parametrize("name", VECTORS["cases"])
def test_vectors(name: str) -> None:
    case = VECTORS["cases"][name]
    assert answer(case["credential"], VECTORS["template"]) == case["expect"]


def test_the_vector_holds_its_template() -> None:
    credential = SITE.read(VALID)
    with SITE.open(credential) as template, restore(bytes.fromhex(VECTORS["template"])) as expected:
        assert template.vector.tobytes() == expected.vector.tobytes()
    assert credential.flight == "AI302"
    assert SITE.read(VECTORS["cases"]["valid-flight-withheld"]["credential"]).flight is None


def test_the_vectors_status_list_names_the_revoked_one_and_no_other() -> None:
    revoked = StatusPlace.parse(VECTORS["revoked"])
    token, key, site = VECTORS["status_list"], SITE.public_key, VECTORS["site"]
    for place, expected in ((revoked, True), (SITE.read(VALID).place, False)):
        assert is_revoked(token, place, key, site=site) is expected
    with pytest.raises(NotPermitted):
        is_revoked(token, StatusPlace(revoked.epoch + 1, revoked.index), key, site=site)
    with pytest.raises((MalformedInput, NotPermitted)):
        is_revoked(VALID.partition("~")[0], revoked, key, site=site)


def issue(keys: FakeKeyStore, epoch: int = 498_000, site: str = VECTORS["site"]) -> str:
    return SiteCredentials(keys, site).issue(
        make_template(7),
        place=StatusPlace(epoch, LIST_SIZE - 1),
        purposes=GATE_PURPOSES,
        flight="AI3021A",
        model_digest="ab" * 32,
    )


def test_what_is_issued_reads_as_issued_and_fits_a_qr_code() -> None:
    keys = FakeKeyStore()
    text = issue(keys)
    site = SiteCredentials(keys, VECTORS["site"])
    credential = site.read(text)
    assert (credential.id, credential.purposes, credential.flight) == (
        f"498000-{LIST_SIZE - 1}",
        GATE_PURPOSES,
        "AI3021A",
    )
    with site.open(credential) as template:
        assert cosine(template, make_template(7)) > 0.9998
    assert len(text) < 1800
    assert qr_version(text) <= 31


def test_two_credentials_of_one_face_have_no_long_part_in_common() -> None:
    keys = FakeKeyStore()
    site = SiteCredentials(keys, VECTORS["site"])
    one, other = (site.read(issue(keys, epoch)).sealed.split(".") for epoch in (498_000, 498_001))
    assert one[3] != other[3] and one[2] != other[2]
    assert one[0] != other[0], "a fresh key agreement"


@pytest.mark.parametrize("change", ["key destroyed", "other epoch key", "other site"])
def test_only_the_hours_key_of_the_site_opens_it(change: str) -> None:
    keys = FakeKeyStore()
    credential = SiteCredentials(keys, VECTORS["site"]).read(issue(keys))
    expected, site = SealBroken, VECTORS["site"]
    if change == "key destroyed":
        keys.destroy_epoch(credential.epoch)
        expected = KeyDestroyed
    elif change == "other epoch key":
        keys.keys[credential.epoch] = (bytes(32), bytes(32))
    else:
        site = "elsewhere.example"
    with pytest.raises(expected):
        SiteCredentials(keys, site).open(credential)


def test_another_sites_credential_is_not_ours_even_with_our_key() -> None:
    keys = FakeKeyStore()
    text = issue(keys, site="elsewhere.example")
    with pytest.raises(NotPermitted):
        SiteCredentials(keys, VECTORS["site"]).read(text)


def test_an_epoch_that_is_over_issues_nothing() -> None:
    keys = FakeKeyStore()
    issue(keys)
    keys.destroy_epoch(498_000)
    with pytest.raises(KeyDestroyed):
        issue(keys)


def test_a_receipt_or_status_list_by_the_same_key_is_no_credential() -> None:
    with pytest.raises((MalformedInput, NotPermitted)):
        SITE.read(VECTORS["status_list"] + "~")


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~ =é"


def refused(text: str) -> None:
    """Reading gives a typed error, never a credential and never anything else."""
    with pytest.raises((MalformedInput, NotPermitted)) as caught:
        SITE.read(text)
    assert isinstance(caught.value, DwarpalError)
    assert caught.value.code in ("malformed_credential", "credential_invalid")


@given(st.one_of(st.text(), st.text(ALPHABET, max_size=400), st.binary().map(lambda b: b.decode("latin-1"))))
def test_no_text_reads_as_a_credential(text: str) -> None:
    refused(text)


@given(st.integers(0, len(VALID) - 1), st.sampled_from(ALPHABET))
def test_no_character_can_be_another(at: int, character: str) -> None:
    if VALID[at] != character:
        refused(VALID[:at] + character + VALID[at + 1 :])


@given(st.integers(0, len(VALID)), st.integers(0, len(VALID)), st.text(ALPHABET, max_size=5))
def test_no_part_can_be_left_out_or_replaced(start: int, end: int, put: str) -> None:
    changed = VALID[: min(start, end)] + put + VALID[max(start, end) :]
    allowed = {VALID, VECTORS["cases"]["valid-flight-withheld"]["credential"]}
    if changed not in allowed:
        refused(changed)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_no_disclosure_of_ones_own_is_believed(value: object) -> None:
    from infra.credentials.jose import compact, encode

    own = encode(compact(["c2FsdA", "purposes", value]))  # type: ignore[list-item]
    refused(f"{VALID}{own}~")
    refused(f"{VALID}{VALID.split('~')[1]}~")


def test_an_overlong_text_is_refused_before_it_is_read() -> None:
    refused("a" * MOST_CHARACTERS + ".a.a~")


def test_withholding_is_for_the_holder_to_choose() -> None:
    whole = SdJwt.parse(VALID)
    assert whole.text == VALID
    assert whole.without().text == VALID
    assert whole.without("flight").text == VECTORS["cases"]["valid-flight-withheld"]["credential"]


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-131072", "70000000-1", "01-1", "1-01", "1-1-1", "a-1", "٣-1", "1" * 11 + "-1"]
)
def test_what_is_no_id_is_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        StatusPlace.parse(text)


@given(st.integers(0, END_OF_EPOCHS - 1), st.integers(0, LIST_SIZE - 1))
def test_an_id_has_one_spelling(epoch: int, index: int) -> None:
    place = StatusPlace(epoch, index)
    assert StatusPlace.parse(place.id) == place
    assert epoch_of(place.expires_at) == epoch


def test_the_qr_code_reads_back() -> None:
    image = cv2.imdecode(np.frombuffer(qr_png(VALID), np.uint8), cv2.IMREAD_GRAYSCALE)
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(image)
    assert text == VALID
