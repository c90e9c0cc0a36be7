"""Journey credentials over HTTP: issue, admit, deny, revoke, expire; nothing kept of a face. Rows on both databases."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import inspect, text

from biometrics.credentials import StatusPlace
from biometrics.errors import NotPermitted, SealBroken
from biometrics.quantization import quantize_rows
from biometrics.records import epoch_of
from infra.credentials.jose import PublicKey
from infra.credentials.journey import LONGEST_LIFE, VCT, SiteCredentials, issuer_of, issuing_kid, read_credential
from infra.credentials.sd_jwt import SdJwt, issue_sd_jwt
from infra.credentials.status_list import is_revoked, list_uri
from services.rotation import rotate_signing_key
from services.sweeper import Sweeper
from tests.conftest import LocalSite
from tests.integration.test_journey import verify


@pytest.fixture
def either_site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url)


def issue(site: LocalSite, *images: bytes, **options: object) -> httpx2.Response:
    """Send what an enrollment takes to the other door."""
    purposes = options.get("purposes", ("entry", "security", "boarding"))
    departs_at = (site.now() + timedelta(hours=3)).isoformat()
    body = {"travel": {"flight": "AI302", "departs_at": departs_at}, "consent": site.consent(purposes)}  # type: ignore[arg-type]
    return site.client.post(
        "/v1/credentials",
        headers=site.auth("enroller"),
        data={"enrollment": json.dumps(body)},
        files=[("images", (f"{i}.jpg", image)) for i, image in enumerate(images)],
    )


def check(
    site: LocalSite, image: bytes, credential: str, *, gate: str = "entry-1", **fields: object
) -> httpx2.Response:
    body = {"nonce": uuid.uuid4().hex, "captured_at": site.now().isoformat(), "credential": credential, **fields}
    return site.client.post(
        f"/v1/gates/{gate}/checks",
        headers=site.auth(gate),
        data={"check": json.dumps(body)},
        files={"image": ("capture.jpg", image)},
    )


def decision(*args: object, **options: object) -> tuple[str, str]:
    answer = check(*args, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return answer.json()["decision"], answer.json()["reason"]


def revoke(site: LocalSite, issued: dict[str, str], who: str | None = None) -> httpx2.Response:
    headers = site.auth(who or issued["credential"])
    return site.client.delete(f"/v1/credentials/{issued['credential_id']}", headers=headers)


def test_a_credential_opens_gates_until_it_is_revoked(
    either_site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    answer = issue(either_site, astronaut_jpeg)
    assert answer.status_code == 201, answer.text
    issued = answer.json()
    credential = issued["credential"]
    assert len(credential) < 1800
    assert base64.b64decode(issued["credential_qr_png"]).startswith(b"\x89PNG")
    assert issued["consent_receipt"]["storage_locations"] == ["the traveller's phone"]
    for gate in ("entry-1", "security-1", "boarding-1"):
        assert decision(either_site, astronaut_jpeg, credential, gate=gate) == ("admit", "matched")
    assert decision(either_site, hopper_jpeg, credential) == ("deny", "not_matched")
    assert decision(either_site, astronaut_jpeg, credential, flight="AI302") == ("admit", "matched")
    assert decision(either_site, astronaut_jpeg, credential, flight="AI999") == ("deny", "other_journey")
    without = SdJwt.parse(credential).without("flight").text
    assert decision(either_site, astronaut_jpeg, without) == ("admit", "matched")
    assert decision(either_site, astronaut_jpeg, without, flight="AI302") == ("deny", "other_journey")
    state = either_site.client.get(f"/v1/credentials/{issued['credential_id']}", headers=either_site.auth(credential))
    assert state.json()["revoked"] is False
    receipt = revoke(either_site, issued).json()["receipt"]
    assert receipt["kind"] == "deletion"
    assert decision(either_site, astronaut_jpeg, credential) == ("deny", "credential_revoked")
    assert revoke(either_site, issued).status_code == 404
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    result = verify(either_site.export(), tmp_path, "--receipt", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_expired_credential_is_denied_and_its_place_and_key_go(
    either_site: LocalSite, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    issued, revoked = issue(either_site, astronaut_jpeg).json(), issue(either_site, astronaut_jpeg).json()
    revoke(either_site, revoked)
    place = StatusPlace.parse(issued["credential_id"])
    either_site.clock.offset = place.expires_at - either_site.now() - timedelta(seconds=5)
    assert decision(either_site, astronaut_jpeg, issued["credential"]) == ("admit", "matched")
    either_site.clock.offset += timedelta(seconds=6)
    assert decision(either_site, astronaut_jpeg, issued["credential"]) == ("deny", "credential_expired")
    assert revoke(either_site, issued).status_code == 404
    Sweeper(either_site.system).sweep()
    with either_site.system.storage.reading() as unit:
        assert unit.credentials.revoked(place) is None
    reader = SiteCredentials(either_site.system.storage.keys, "test.example")
    credential = reader.read(issued["credential"])
    with reader.open(credential):
        pass  # the hour's key is still there
    either_site.clock.offset += timedelta(hours=1)
    Sweeper(either_site.system).sweep()
    with pytest.raises(SealBroken):
        reader.open(credential)
    result = verify(either_site.export(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_keeps_a_bit_and_no_template(either_site: LocalSite, astronaut_jpeg: bytes) -> None:
    issued = issue(either_site, astronaut_jpeg).json()
    assert decision(either_site, astronaut_jpeg, issued["credential"]) == ("admit", "matched")
    storage = either_site.system.storage
    reader = SiteCredentials(storage.keys, "test.example")
    credential = reader.read(issued["credential"])
    with reader.open(credential) as template:
        vector = template.vector.copy()
    needles = [
        quantize_rows(vector[None]).tobytes()[:16],
        vector.tobytes()[:16],
        vector.astype("<f2").tobytes()[:16],
        credential.sealed[-40:].encode(),
        issued["credential"][200:240].encode(),
    ]
    with storage.reading() as unit:
        connection = unit.session.connection()
        dump = b""
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).all()
            if rows and table not in ("audit_entry", "audit_node", "audit_head", "audit_checkpoint"):
                assert table in ("credential_status", "gate", "api_key", "nonce", "alembic_version"), table
            dump += b"".join(
                value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
            )
    files = b"".join(path.read_bytes() for path in either_site.data_dir.rglob("*") if path.is_file())
    assert b"entry-1" in dump, "the dump is one"
    assert not [needle for needle in needles if needle in dump or needle in files]


def test_anyone_verifies_a_credential_with_what_the_site_publishes(site: LocalSite, astronaut_jpeg: bytes) -> None:
    kept, revoked = issue(site, astronaut_jpeg).json(), issue(site, astronaut_jpeg).json()
    revoke(site, revoked, "officer")
    published = site.client.get("/.well-known/jwt-vc-issuer").json()
    assert published["issuer"] == "https://test.example"
    key = PublicKey.of_jwk(published["jwks"]["keys"][0])
    for issued, expected in ((kept, False), (revoked, True)):
        place = read_credential(issued["credential"], key, "test.example").place
        answer = site.client.get(f"/v1/status/{place.epoch}")
        assert answer.headers["content-type"] == "application/statuslist+jwt"
        assert is_revoked(answer.text, place, key, site="test.example") is expected
    assert site.client.get("/v1/status/1").status_code == 404
    assert site.client.get("/v1/status/69999999").status_code == 200
    for never in ("70000000", "99999999999999999999", "-1", "x"):
        assert site.client.get(f"/v1/status/{never}").status_code == 400


def test_what_is_no_credential_or_not_for_this_is_refused(site: LocalSite, astronaut_jpeg: bytes) -> None:
    assert issue(site, astronaut_jpeg, purposes=("entry", "walk_through")).json()["code"] == (
        "walk_through_needs_enrollment"
    )
    issued = issue(site, astronaut_jpeg, purposes=("entry",)).json()
    credential: str = issued["credential"]
    assert decision(site, astronaut_jpeg, credential, gate="boarding-1") == ("deny", "purpose_not_consented")
    altered = credential[:200] + ("A" if credential[200] != "A" else "B") + credential[201:]
    assert decision(site, astronaut_jpeg, altered) == ("deny", "credential_invalid")
    malformed = check(site, astronaut_jpeg, "DWP1.x.y")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "malformed_credential")
    both = check(site, astronaut_jpeg, credential, travel_token="DWP1.x.y")
    assert (both.status_code, both.json()["code"]) == (400, "two_claims")
    other = issue(site, astronaut_jpeg).json()
    assert revoke(site, other, credential).status_code == 404, "another's credential"
    assert revoke(site, other, altered).status_code == 401
    assert revoke(site, other, "entry-1").status_code == 403
    for place, status in (("1-999999", 400), ("70000000-1", 400), ("69999999-1", 404), ("x", 400)):
        assert site.client.delete(f"/v1/credentials/{place}", headers=site.auth("officer")).status_code == status
    assert decision(site, astronaut_jpeg, other["credential"]) == ("admit", "matched")


def test_five_strangers_lock_a_credential_for_a_while(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    credential = issue(site, astronaut_jpeg).json()["credential"]
    for _ in range(5):
        assert decision(site, hopper_jpeg, credential) == ("deny", "not_matched")
    assert decision(site, astronaut_jpeg, credential, gate="boarding-1") == ("refer", "locked_out")
    site.clock.offset += timedelta(seconds=site.system.settings.lockout_seconds + 1)
    assert decision(site, astronaut_jpeg, credential) == ("admit", "matched")


def test_no_admit_after_the_revocation_stands_in_the_log(either_site: LocalSite, astronaut_jpeg: bytes) -> None:
    issued = issue(either_site, astronaut_jpeg).json()
    with ThreadPoolExecutor(4) as pool:
        checks = [pool.submit(check, either_site, astronaut_jpeg, issued["credential"]) for _ in range(6)]
        receipt = revoke(either_site, issued).json()["receipt"]
        answers = [running.result().json() for running in checks]
    for answer in answers:
        before = answer["audit_index"] < receipt["log_index"]
        assert (answer["decision"] == "admit") == before, answer


def test_a_credential_outlives_its_issuers_key_and_a_stolen_former_key_issues_none(
    start_site: Callable[..., LocalSite], astronaut_jpeg: bytes
) -> None:
    site = start_site()
    storage = site.system.storage
    issued = issue(site, astronaut_jpeg).json()["credential"]
    stolen = storage.keys.signing_key()
    rotate_signing_key(storage)
    assert decision(site, astronaut_jpeg, issued) == ("admit", "matched")
    published = site.client.get("/.well-known/jwt-vc-issuer").json()["jwks"]["keys"]
    kids = [PublicKey.of_jwk(jwk).kid for jwk in published]
    writer = SiteCredentials(storage.keys, storage.settings.site)
    assert kids == [writer.public_key.kid, issuing_kid(issued)]
    (retired,) = storage.keys.retired_signing_keys()
    assert [key.kid for key in writer.public_keys(retired.retired_at + LONGEST_LIFE)] == kids[:1]
    late = StatusPlace(epoch_of(retired.retired_at + LONGEST_LIFE) + 1, 0)
    forged = issue_sd_jwt(
        {
            "iss": issuer_of(storage.settings.site),
            "vct": VCT,
            "exp": int(late.expires_at.timestamp()),
            "status": {"status_list": {"idx": 0, "uri": list_uri(storage.settings.site, late.epoch)}},
            "purposes": "entry",
            "model": "0" * 16,
            "template": "a.b.c.d.e",
        },
        {"flight": "AI302"},
        stolen,
        kids[1],
    ).text
    with pytest.raises(NotPermitted, match="younger"):
        writer.read(forged)
