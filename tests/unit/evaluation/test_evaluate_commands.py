"""The commands on real photographs, with the real networks."""

import json
import zipfile

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from tests.conftest import encode

STAGES = ["decode", "detect", "align", "quality", "embed", "compare", "check"]


@pytest.fixture(scope="module")
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def portraits(tmp_path, astronaut, grace_hopper):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("Collins_0001.jpg", encode(astronaut))
        archive.writestr("Collins_0002.jpg", encode(astronaut[:360, 60:420]))
        archive.writestr("Hopper_0001.jpg", encode(grace_hopper))
        archive.writestr("torn.jpg", encode(astronaut)[:200])
    pairs = ["image_a,image_b,same", "Collins_0001.jpg,Collins_0002.jpg,1", "Collins_0001.jpg,Hopper_0001.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join([*pairs, "Collins_0002.jpg,torn.jpg,0"]))
    return tmp_path


def test_verification_prints_only_json(run, portraits):
    result = run(
        "evaluate", "verification", portraits / "pairs.csv", "--images", portraits / "images.zip", "--cross", "--json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["n_pairs"] == 3
    assert report["fta"] == 0.25
    assert report["unreadable"] == ["torn.jpg"]
    assert report["tar_at_far"]["0.01"] == 1
    assert report["threshold"]["0.001"] < 0.5
    assert report["cross"]["n_non_mated"] == 2


def test_verification_prints_a_table(run, portraits):
    result = run(
        "evaluate", "verification", portraits / "pairs.csv", "--images", portraits / "images.zip", "--face", "only"
    )
    assert result.exit_code == 0, result.output
    assert "TAR at FAR 0.001" in result.stdout
    assert "unreadable: torn.jpg" in result.stderr


def test_verification_draws_a_curve(run, portraits):
    where = ["--images", portraits / "images.zip", "--plot"]
    result = run("evaluate", "verification", portraits / "pairs.csv", *where, portraits / "det.svg")
    assert result.exit_code == 0, result.output
    assert (portraits / "det.svg").read_text().lstrip().startswith("<?xml")
    assert run("evaluate", "verification", portraits / "pairs.csv", *where, portraits / "det.txt").exit_code == 2


@pytest.mark.parametrize("command", ["verification", "liveness", "detector"])
def test_bad_input_ends_with_2_and_one_line(run, portraits, command):
    (portraits / "wrong").write_text("image\nx\n")
    result = run("evaluate", command, portraits / "wrong", "--images", portraits / "images.zip", "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1


def test_bench_times_every_stage(run, monkeypatch):
    monkeypatch.setenv("DWARPAL_PAD", "")
    monkeypatch.setenv("DWARPAL_WITHOUT_PAD", "a photograph may open the gate")
    result = run("bench", "--runs", 2, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for size in ("640x480", "1280x720"):
        stages = report["frames"][size]
        assert list(stages) == STAGES
        parts = sum(stages[stage]["median_ms"] for stage in STAGES[:-1])
        assert stages["check"]["median_ms"] == pytest.approx(parts, rel=0.5)
    assert report["providers"].keys() == {"detector", "embedder"}


def test_bench_names_what_is_wrong_with_a_photograph(run, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    assert run("bench", "--image", tmp_path / "x.jpg").exit_code == 2
