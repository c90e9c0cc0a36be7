"""`dwarpal calibrate` from the card, from portraits and from research images: what it signs and what it refuses."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from biometrics.types import Pixels
from evaluation.protocol import read_pairs
from services.cli.main import app
from tests.conftest import encode

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on a data folder of its own; any exit code will do where `code` is None."""
    env = {"DWARPAL_DATA_DIR": str(tmp_path / "data"), "DWARPAL_SITE": "test.example"}

    def command(*arguments: object, code: int | None = 0, **more: str) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=os.environ | env | more)
        assert code is None or result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return command


@pytest.fixture
def portraits(tmp_path: Path, astronaut: Pixels, grace_hopper: Pixels) -> tuple[Path, Path]:
    """Four portraits of each of two people, whose names do not say who is on them, and all pairs of them."""
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for person, picture in (("c", astronaut), ("h", grace_hopper)):
            for shot in range(4):
                archive.writestr(f"{person}{shot}.jpg", encode(picture[shot * 5 :, shot * 3 :], quality=95 - shot))
    names = [f"{person}{shot}.jpg" for person in "ch" for shot in range(4)]
    lines = [f"{a},{b},{int(a[0] == b[0])}" for a, b in itertools.combinations(names, 2)]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(["image_a,image_b,same", *lines]))
    return pairs, tmp_path / "images.zip"


def doctor(run: Run, **more: str) -> tuple[str, str]:
    """Return what the doctor says about the calibration; other findings depend on the machine."""
    checks = json.loads(run("doctor", "--json", code=None, **more).stdout)["checks"]
    [found] = [check for check in checks if check["check"] == "calibration"]
    return found["verdict"], found["detail"]


def test_from_the_card(run: Run, tmp_path: Path) -> None:
    made = json.loads(
        run("calibrate", "--from-card", "--fmr", 1e-4, "--fpir", 0.01, "--gallery-size", 800, "--json").stdout
    )
    assert made["record"]["declared"] == {"fmr": "0.0001", "fpir": "0.01", "gallery_size": 800, "support": "card"}
    assert made["record"]["sample"] is None
    file = Path(made["file"])
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made["sha256"] == file.stem
    assert file.is_relative_to(tmp_path / "data")
    assert json.loads(run("calibrate", "--show", "--json").stdout) == made
    assert made["sha256"] in run("calibrate", "--show").stdout
    entries = [json.loads(line) for line in exported(run, tmp_path) if b'"calibrated"' in line]
    assert str(entries).count(made["sha256"]) == 1
    assert "0.4545" not in str(entries)


def exported(run: Run, folder: Path) -> list[bytes]:
    run("audit", "export", folder / "audit.jsonl")
    run("audit", "verify", folder / "audit.jsonl")
    return (folder / "audit.jsonl").read_bytes().splitlines()


def test_from_own_pairs(run: Run, portraits: tuple[Path, Path]) -> None:
    pairs, images = portraits
    run("calibrate", "--from-card")
    result = run("calibrate", pairs, "--images", images, "--fmr", 0.2, "--json", DWARPAL_EXECUTION_PROVIDER="cpu")
    record = json.loads(result.stdout)["record"]
    sample = record["sample"]
    assert (sample["images"], sample["failed_images"], sample["mated"], sample["non_mated"]) == (8, 0, 12, 16)
    assert (sample["resampled"], sample["subjects"], sample["subject_pairs"]) == ("images", 8, 16)
    assert sample["pairs_sha256"] == hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert sample["dependence"] is not None
    assert record["declared"]["support"] == "fewer_than_30_errors"
    assert record["execution_providers"]["embedder"] == "CPUExecutionProvider"
    [point] = record["points"]
    assert (point["rate"], point["basis"], point["false_matches"]) == ("0.2", "upper_confidence_bound", 0)
    assert point["false_non_matches"] == 0
    assert ".jpg" not in result.stdout, "no image is named"
    assert "fewer than 30 errors" in run("calibrate", "--show").stdout
    former = [path.stem for path in Path(json.loads(result.stdout)["file"]).parent.iterdir()]
    assert len(former) == 2


def test_too_few_are_refused_before_any_work(run: Run, portraits: tuple[Path, Path], tmp_path: Path) -> None:
    pairs, images = portraits
    told = run("calibrate", pairs, "--images", images, "--fmr", 0.1, code=1).stderr
    assert "16 compared pairs" in told
    assert "0.188 at the smallest" in told
    assert "0.1 needs 30" in told
    searched = run(
        "calibrate", pairs, "--images", images, "--fmr", 0.3, "--fpir", 0.4, "--gallery-size", 50, code=1
    ).stderr
    assert "galleries of up to 2" in searched
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--from-card", "--show"),
        ("PAIRS", "--from-card", "--images", "IMAGES"),
        ("PAIRS",),
        ("--from-card", "--images", "IMAGES"),
        ("--from-card", "--fpir", "0.01"),
        ("--from-card", "--gallery-size", "10"),
        ("--from-card", "--fmr", "0"),
        ("--from-card", "--fpir", "1.5", "--gallery-size", "10"),
        ("nowhere.csv", "--images", "IMAGES"),
    ],
)
def test_wrong_usage(run: Run, portraits: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    named = {"PAIRS": str(portraits[0]), "IMAGES": str(portraits[1])}
    assert run("calibrate", *(named.get(a, a) for a in arguments), code=2).stdout == ""
    assert not (tmp_path / "data").exists()


def test_the_card_is_never_extrapolated(run: Run) -> None:
    assert "never extrapolated" in run("calibrate", "--from-card", "--fmr", 1e-6, code=3).stderr
    assert (
        "never extrapolated"
        in run("calibrate", "--from-card", "--fpir", 0.01, "--gallery-size", 100_000, code=3).stderr
    )
    assert "DWARPAL_EMBEDDER_FLIP=true" in run("calibrate", "--from-card", "--no-flip", code=3).stderr


def test_what_does_not_agree_is_said(run: Run) -> None:
    told = run("calibrate", "--from-card", "--fmr", 1e-2, DWARPAL_FMR="0.001", DWARPAL_COSINE_THRESHOLD="0.5").stderr
    assert "DWARPAL_FMR must agree" in told
    assert "DWARPAL_COSINE_THRESHOLD overrides" in told


def test_show_without_a_record_and_with_a_broken_one(run: Run) -> None:
    assert "has not calibrated" in run("calibrate", "--show", code=1).stderr
    file = Path(json.loads(run("calibrate", "--from-card", "--json").stdout)["file"])
    file.write_bytes(file.read_bytes().replace(b"0.3491", b"0.1491"))
    assert "changed after it was signed" in run("calibrate", "--show", code=3).stderr


def test_doctor_looks_at_the_calibration(run: Run, tmp_path: Path) -> None:
    assert doctor(run) == ("fine", "FMR 0.001 by card mobilefacenet512")
    assert not (tmp_path / "data").exists()
    made = json.loads(run("calibrate", "--from-card", "--json").stdout)
    assert doctor(run) == ("fine", f"FMR 0.001 by card mobilefacenet512; record {made['sha256'][:16]}")
    assert doctor(run, DWARPAL_COSINE_THRESHOLD="0.4")[0] == "warning"
    assert doctor(run, DWARPAL_EMBEDDER_FLIP="false")[0] == "wrong"
    Path(made["file"]).write_bytes(b"{}")
    assert doctor(run)[0] == "wrong"


def test_on_research_images(run: Run, shared_data: Path, tmp_path: Path) -> None:
    images, pairs = shared_data / "lfw-dev.zip", tmp_path / "all.csv"
    with zipfile.ZipFile(images) as archive:
        pairs.write_bytes(archive.read("pairs.csv"))
    told = run("calibrate", pairs, "--images", images, "--fmr", 1e-3, code=1).stderr
    assert "1,200 compared pairs" in told
    assert "0.0025 at the smallest; 0.001 needs 3,000" in told
    different = [pair for pair in read_pairs(pairs) if not pair.same][:50]
    few = tmp_path / "few.csv"
    few.write_text("\n".join(["image_a,image_b,same", *(f"{p.image_a},{p.image_b},0" for p in different)]))
    made = run("calibrate", few, "--images", images, "--fmr", 1e-3, "--cross", "--face", "center", "--json")
    record = json.loads(made.stdout)["record"]
    assert record["sample"]["subject_pairs"] >= 3000
    assert record["declared"]["support"] == "fewer_than_30_errors"
    [declared] = [point for point in record["points"] if point["rate"] == "0.001"]
    assert 0.3 < float(declared["threshold"]) < 0.6
