"""The signed record: what was written comes back, anything else is refused, and a crash leaves the former one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from biometrics.comparison import threshold_at
from biometrics.errors import CalibrationUnusable
from infra import calibration
from infra.audit.canonical import JSON, canonical
from infra.calibration import (
    PIPELINE,
    CalibrationRecord,
    Declared,
    RecordPoint,
    Sample,
    check_fits,
    detector_digest,
    read_record,
    sign_record,
    store_record,
    verify_record,
)
from infra.receipts import sign_receipt

SITE = "airport.example"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
GOLDEN = Path(__file__).resolve().parents[2] / "vectors" / "calibration" / "record.json"
"""Signed by `KEY` for `SITE`; written by running this file."""


def make_record(**changes: object) -> CalibrationRecord:
    fields: dict[str, object] = {
        "created_at": "2026-03-01T12:00:00.000000Z",
        "software": "0.1.0",
        "model": "net",
        "model_sha256": "ab" * 32,
        "flip": True,
        "pipeline": PIPELINE,
        "detector_sha256": "cd" * 32,
        "execution_providers": {"detector": "cpu", "embedder": "cpu"},
        "source": "pairs",
        "declared": Declared(fmr="0.001", fpir="0.01", gallery_size=20, support="fewer_than_30_errors"),
        "points": [
            RecordPoint(
                rate="0.001",
                threshold="0.381000",
                support="supported",
                basis="measured_rate",
                false_matches=31,
                false_non_matches=2,
                exact=["0.00072", "0.0013"],
                by_subject=["0.0006", "0.0014"],
            ),
            RecordPoint(
                rate="1e-04", threshold="-0.25", support="fewer_than_30_errors", basis="upper_confidence_bound"
            ),
        ],
        "sample": Sample(
            comparisons="cross",
            pairs_sha256="ef" * 32,
            face="only",
            images=300,
            failed_images=3,
            mated=40,
            non_mated=31_000,
            resampled="subjects",
            subjects=250,
            subject_pairs=30_900,
            confidence="0.9",
            dependence=calibration.DEPENDENCE,
        ),
    }
    return CalibrationRecord.model_validate(fields | changes)


CONTENT = sign_record(make_record(), KEY, SITE)
RECEIPT = json.loads(CONTENT)


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value that is no list or object."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if items is None else [leaf for key, inner in items for leaf in leaves(inner, (*path, key))]


def edited(path: tuple[str | int, ...], change: Callable[[object], object]) -> bytes:
    copy = json.loads(CONTENT)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return canonical(copy)


def other(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return ("1" if value[:1] != "1" else "2") + value[1:]
    return "1"


def code_of(content: bytes, key: Ed25519PrivateKey = KEY, site: str = SITE) -> str:
    with pytest.raises(CalibrationUnusable) as caught:
        verify_record(content, [key.public_key()], site)
    return caught.value.code


def test_a_record_comes_back_as_it_was() -> None:
    signed = verify_record(CONTENT, [KEY.public_key()], SITE)
    assert signed.record == make_record()
    assert threshold_at(signed.record, 1e-3) == pytest.approx(0.381)
    assert threshold_at(signed.record, 1e-4) == pytest.approx(-0.25)


def test_golden_record() -> None:
    assert GOLDEN.read_bytes() == CONTENT, "the format changed: records in the field must still be read"
    assert verify_record(GOLDEN.read_bytes(), [KEY.public_key()], SITE).record.name == "net"


@pytest.mark.parametrize("path", leaves(RECEIPT), ids=lambda path: ".".join(map(str, path)))
def test_every_single_edit_is_refused(path: tuple[str | int, ...]) -> None:
    code = code_of(edited(path, other))
    assert code in {"calibration_signature", "calibration_of_another_key"}


@pytest.mark.parametrize("field", RECEIPT)
def test_a_missing_or_added_field_is_refused(field: str) -> None:
    code_of(canonical({name: value for name, value in RECEIPT.items() if name != field}))
    code_of(canonical(RECEIPT | {f"{field}x": 1}))


@given(st.integers(0, len(CONTENT) * 8 - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    changed = bytearray(CONTENT)
    changed[bit // 8] ^= 1 << bit % 8
    code_of(bytes(changed))


@given(st.integers(0, len(CONTENT) - 1))
def test_a_cut_file_is_refused(size: int) -> None:
    assert code_of(CONTENT[:size]) == "calibration_malformed"


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    code_of(content)


def test_another_spelling_of_the_same_values_is_refused() -> None:
    assert code_of(json.dumps(RECEIPT).encode()) == "calibration_malformed"
    assert code_of(CONTENT + b"\n") == "calibration_malformed"


def test_another_key_or_site_is_refused() -> None:
    assert code_of(CONTENT, OTHER_KEY) == "calibration_of_another_key"
    assert code_of(sign_record(make_record(), KEY, "elsewhere.example")) == "calibration_of_another_key"


def test_a_genuine_receipt_of_another_kind_is_no_record() -> None:
    body = {name: value for name, value in RECEIPT.items() if name not in calibration._ENVELOPE}
    assert code_of(canonical(sign_receipt("deletion", body, KEY, SITE))) == "calibration_of_another_key"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "dwarpal-calibration/v2"},
        {"points": []},
        {"points": [{"rate": "7", "threshold": "0.1", "support": "card", "basis": "card"}]},
        {"points": [{"rate": "nan", "threshold": "0.1", "support": "card", "basis": "card"}]},
        {"created_at": "yesterday"},
        {"flip": 1},
    ],
)
def test_a_genuine_record_that_makes_no_sense_is_refused(change: dict[str, JSON]) -> None:
    body = {name: value for name, value in RECEIPT.items() if name not in calibration._ENVELOPE}
    content = canonical(sign_receipt("calibration", body | change, KEY, SITE))
    assert code_of(content) == "calibration_malformed"


@pytest.mark.parametrize(
    ("digest", "flip", "changes", "code"),
    [
        ("00" * 32, True, {}, "calibration_of_another_model"),
        ("ab" * 32, False, {}, "calibration_of_another_setting"),
        ("ab" * 32, True, {"pipeline": "pipeline/0"}, "calibration_of_another_pipeline"),
        ("ab" * 32, True, {"detector_sha256": "00" * 32}, "calibration_of_another_pipeline"),
    ],
)
def test_a_record_for_something_else_does_not_fit(
    digest: str, flip: bool, changes: dict[str, object], code: str
) -> None:
    record = make_record(**{"detector_sha256": detector_digest()} | changes)
    with pytest.raises(CalibrationUnusable) as caught:
        check_fits(record, model_sha256=digest, flip=flip)
    assert caught.value.code == code


def test_a_record_that_fits() -> None:
    check_fits(make_record(detector_sha256=detector_digest()), model_sha256="ab" * 32, flip=True)


# On disk.


def in_force(folder: Path, logged: str | None) -> str | None:
    try:
        signed = read_record(folder, logged, [KEY.public_key()], SITE)
    except CalibrationUnusable as error:
        return error.code
    return None if signed is None else signed.sha256


def test_former_records_stay_and_the_log_says_which_is_in_force(tmp_path: Path) -> None:
    assert in_force(tmp_path, None) is None
    first = store_record(tmp_path, CONTENT)
    second = store_record(tmp_path, sign_record(make_record(software="0.2.0"), KEY, SITE))
    assert in_force(tmp_path, first.stem) == first.stem
    assert in_force(tmp_path, second.stem) == second.stem
    assert in_force(tmp_path, None) == "calibration_not_logged"
    assert in_force(tmp_path, "0" * 64) == "calibration_missing"
    assert {path.stat().st_mode & 0o777 for path in (first, second)} == {0o600}
    assert first.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(tmp_path.rglob("*.*")) == sorted([first, second])


def test_a_genuine_older_record_under_the_newer_ones_name_is_refused(tmp_path: Path) -> None:
    first = store_record(tmp_path, CONTENT)
    second = store_record(tmp_path, sign_record(make_record(software="0.2.0"), KEY, SITE))
    second.write_bytes(first.read_bytes())
    assert in_force(tmp_path, second.stem) == "calibration_not_logged"


CRASH = """
import os, sys
from pathlib import Path
from infra.calibration import store_record
left = int(sys.argv[2])
def hook(event, _):
    global left
    if event in ("open", "os.link", "os.rename", "os.remove", "os.mkdir"):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(hook)
store_record(Path(sys.argv[1]), bytes.fromhex(sys.argv[3]))
"""


@pytest.mark.parametrize("step", range(9))
def test_a_process_killed_at_any_step_leaves_the_former_record_in_force(tmp_path: Path, step: int) -> None:
    former = store_record(tmp_path, CONTENT)
    content = sign_record(make_record(software="0.2.0"), KEY, SITE)
    command = [sys.executable, "-c", CRASH, str(tmp_path), str(step), content.hex()]
    ended = subprocess.run(command, check=False)
    assert ended.returncode in (0, 9)
    assert (ended.returncode == 0) == (step == 8), "the number of steps changed: adapt the range"
    assert in_force(tmp_path, former.stem) == former.stem
    again = store_record(tmp_path, content)
    assert in_force(tmp_path, again.stem) == again.stem
    assert sorted(path.suffix for path in again.parent.iterdir()) == [".json", ".json"]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_bytes(CONTENT)
