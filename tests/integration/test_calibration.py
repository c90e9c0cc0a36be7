"""A site calibrates, serves with what it signed, shows it, and refuses to start once anything about it is not right."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from biometrics.comparison import threshold_at
from biometrics.errors import CalibrationUnusable
from biometrics.types import EMBEDDING_SIZE
from evaluation.acquisition import Acquired
from evaluation.calibration import Claim
from evaluation.comparisons import compare_all
from evaluation.protocol import Pair
from infra.audit import audit_verify
from infra.calibration import CalibrationRecord, sign_record, store_record
from infra.models import find_card
from services.bootstrap import Networks
from services.calibrate import put_in_force, record_from_card, record_from_sample
from tests.conftest import LocalSite

Start = Callable[..., LocalSite]
CARD, _ = find_card("embedder", "mobilefacenet512")
PEOPLE = 100
CLAIM = Claim(1e-3, 0.02, 10)


def strangers() -> Acquired:
    """Embeddings of a hundred people, two photographs each, whose cosines between people lie around 0.2."""
    random = np.random.default_rng(5)
    common, people = random.standard_normal(EMBEDDING_SIZE), random.standard_normal((PEOPLE, EMBEDDING_SIZE))
    shots = 0.5 * common + people[:, None] + 0.3 * random.standard_normal((PEOPLE, 2, EMBEDDING_SIZE))
    vectors = shots.reshape(-1, EMBEDDING_SIZE) / np.linalg.norm(shots.reshape(-1, EMBEDDING_SIZE), axis=1)[:, None]
    names = [f"p{person}_{shot}" for person in range(PEOPLE) for shot in range(2)]
    return Acquired(vectors.astype(np.float32), {name: row for row, name in enumerate(names)}, (), ("lost_1",))


def measured(claim: Claim = CLAIM, **changes: object) -> CalibrationRecord:
    """What a site measured on those strangers, with the network that is in use."""
    acquired = strangers()
    pairs = [Pair(a, b, a.split("_")[0] == b.split("_")[0]) for a, b in itertools.pairwise(acquired.rows)]
    options: dict[str, object] = {
        "cross": True,
        "face": "only",
        "pairs_sha256": "ab" * 32,
        "flip": True,
        "providers": {"detector": "cpu", "embedder": "cpu"},
        "now": datetime.now(UTC),
    }
    comparisons = compare_all(pairs, acquired, lambda n: n)
    return record_from_sample(CARD, claim, comparisons, acquired, **(options | changes))  # type: ignore[arg-type]


def status(site: LocalSite) -> dict[str, object]:
    answer = site.client.get("/readyz")
    assert answer.status_code == 200
    shown: dict[str, object] = answer.json()["calibration"]
    return shown


def refusal(start_site: Start, **changes: object) -> str:
    with pytest.raises(CalibrationUnusable) as caught:
        start_site(**changes)
    return caught.value.code


def test_a_fresh_site_is_calibrated_by_the_card(start_site: Start) -> None:
    site = start_site()
    assert status(site) == {
        "source": "card",
        "model": CARD.sha256,
        "fmr": 0.001,
        "fpir": 0.01,
        "gallery_size": None,
        "support": "card",
        "created_at": None,
        "execution_provider": None,
        "record": None,
    }
    assert site.system.checks.match.claimed() == threshold_at(CARD, 1e-3)


def test_a_site_serves_with_what_it_measured(
    start_site: Start, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    site = start_site()
    record = measured()
    signed, path = put_in_force(site.system.storage, record)
    assert status(site)["record"] is None, "a service that runs goes on as it was started"
    site = start_site()
    shown = status(site)
    assert shown | {"created_at": None} == {
        "source": "site",
        "model": CARD.sha256,
        "fmr": 0.001,
        "fpir": 0.02,
        "gallery_size": 10,
        "support": "fewer_than_30_errors",
        "created_at": None,
        "execution_provider": "cpu",
        "record": signed.sha256,
    }
    [declared] = [point for point in record.points if float(point.rate) == 0.001]
    assert declared.basis == "upper_confidence_bound"
    assert site.system.checks.match.claimed() == float(declared.threshold) == site.system.enrollment.same_person
    assert site.system.enrollment.duplicate == float(declared.threshold)
    assert site.system.checks.match.walk_through(10) is not None
    assert site.system.checks.match.walk_through(10_000) is None
    for point in record.points:
        assert point.threshold not in site.client.get("/readyz").text

    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
    assert site.decision(hopper_jpeg, token) == ("deny", "not_matched")
    bundle = tmp_path / "audit.jsonl"
    bundle.write_bytes(site.export())
    assert bundle.read_bytes().count(b'"event":"calibrated"') == 1
    assert signed.sha256.encode() in bundle.read_bytes()
    command = [sys.executable, "-I", audit_verify.__file__, str(bundle)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout
    assert path.exists()


def test_anything_wrong_with_the_record_stops_the_start(start_site: Start) -> None:
    storage = start_site().system.storage
    _, path = put_in_force(storage, measured())
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"threshold":"0.', b'"threshold":"0.0', 1))
    assert refusal(start_site) == "calibration_signature"
    assert refusal(start_site, cosine_threshold=0.4) == "calibration_signature"
    path.write_bytes(content[:-1])
    assert refusal(start_site) == "calibration_malformed"
    path.unlink()
    assert refusal(start_site) == "calibration_missing"
    path.write_bytes(content)
    assert refusal(start_site, embedder_flip=False) == "calibration_of_another_setting"
    assert refusal(start_site, fmr=1e-2) == "calibration_of_another_setting"
    assert refusal(start_site, walk_through_fpir=1e-2) == "calibration_of_another_setting"
    assert refusal(start_site, site="other.example") == "calibration_of_another_key"
    assert status(start_site())["source"] == "site"
    start_site(fmr=1e-3, walk_through_fpir=0.02)


def test_an_older_record_cannot_be_put_back(start_site: Start) -> None:
    storage = start_site().system.storage
    _, loose = put_in_force(storage, measured(Claim(1e-2)))
    newest, strict = put_in_force(storage, measured(Claim(1e-3)))
    assert status(start_site())["record"] == newest.sha256
    strict.write_bytes(loose.read_bytes())
    assert refusal(start_site) == "calibration_not_logged"


def test_a_crash_before_the_log_knows_leaves_the_former_record_in_force(start_site: Start) -> None:
    site = start_site()
    former, _ = put_in_force(site.system.storage, measured())
    key = site.system.storage.keys.signing_key()
    store_record(site.data_dir, sign_record(measured(Claim(1e-2)), key, "test.example"))
    assert status(start_site())["record"] == former.sha256


def test_a_record_beside_a_log_that_knows_none_stops_the_start(start_site: Start, tmp_path: Path) -> None:
    put_in_force(start_site().system.storage, measured())
    assert refusal(start_site, database_url=f"sqlite:///{tmp_path / 'fresh.db'}") == "calibration_not_logged"


def test_keys_of_another_site_verify_nothing(start_site: Start, tmp_path: Path) -> None:
    site = start_site()
    put_in_force(site.system.storage, measured())
    start_site()
    (site.data_dir / "keys").rename(tmp_path / "lost")
    assert refusal(start_site) == "calibration_of_another_key"


def test_another_network_is_not_calibrated_by_this_record(start_site: Start) -> None:
    put_in_force(start_site().system.storage, measured())

    def wrap(networks: Networks) -> Networks:
        return replace(networks, embedder_card=CARD.model_copy(update={"sha256": "0" * 64}))

    assert refusal(start_site, wrap=wrap) == "calibration_of_another_model"


def test_an_imported_network_serves_once_it_is_calibrated(start_site: Start) -> None:
    imported = CARD.model_copy(update={"name": "imported", "operating_points": ()})

    def wrap(networks: Networks) -> Networks:
        return replace(networks, embedder_card=imported)

    assert refusal(start_site, wrap=wrap) == "not_calibrated"
    assert status(start_site(wrap=wrap, cosine_threshold=0.4))["source"] == "override"
    put_in_force(start_site().system.storage, measured())
    site = start_site(wrap=wrap)
    assert status(site)["source"] == "site"


def test_an_override_says_so(start_site: Start) -> None:
    site = start_site(cosine_threshold=0.77)
    shown = status(site)
    assert (shown["source"], shown["fmr"], shown["fpir"], shown["support"]) == ("override", None, None, None)
    assert "0.77" not in site.client.get("/readyz").text


def test_back_to_the_card(start_site: Start) -> None:
    storage = start_site().system.storage
    put_in_force(storage, measured())
    claim = Claim(1e-4, 0.01, 500)
    signed, _ = put_in_force(storage, record_from_card(CARD, claim, flip=True, now=datetime.now(UTC)))
    site = start_site()
    shown = status(site)
    assert (shown["source"], shown["support"], shown["fmr"]) == ("card", "card", 1e-4)
    assert (shown["gallery_size"], shown["record"]) == (500, signed.sha256)
    assert site.system.checks.match.claimed() == threshold_at(CARD, 1e-4)
