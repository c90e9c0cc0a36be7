"""`dwarpal evaluate peers` on real photographs: it measures, keeps, goes on, and says what is missing."""

import json

import pytest
from typer.testing import CliRunner

from infra.settings import Settings
from services.cli.main import app
from tests.conftest import encode


@pytest.fixture
def portraits(tmp_path, astronaut, grace_hopper):
    (tmp_path / "images").mkdir()
    pictures = {"Collins_0001": astronaut, "Collins_0002": astronaut[:360, 60:420], "Hopper_0001": grace_hopper}
    for name, pixels in pictures.items():
        (tmp_path / "images" / f"{name}.jpg").write_bytes(encode(pixels))
    rows = ["image_a,image_b,same", "Collins_0001.jpg,Collins_0002.jpg,1", "Collins_0001.jpg,Hopper_0001.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.fixture
def run(portraits):
    def invoke(*arguments):
        where = ["--images", portraits / "images", "--folder", portraits / "kept"]
        words = ["evaluate", "peers", portraits / "pairs.csv", *where, *arguments]
        return CliRunner().invoke(app, [str(word) for word in words])

    return invoke


def test_ours_is_measured_and_kept(run, portraits):
    first = run("--only", "ours", "--json")
    assert first.exit_code == 0, first.output
    (report,) = json.loads(first.stdout)
    assert report["peer"]["what"].startswith(Settings().embedder)
    assert report["verification"]["n_pairs"] == 2
    assert report["latency"]["embed"]["median_ms"] > 0
    second = run("--only", "ours", "--json")
    assert json.loads(second.stdout) == [report]
    assert "ours: kept from" in second.stderr


def test_other_conditions_are_measured_anew(run, portraits):
    assert run("--only", "ours").exit_code == 0
    before = (portraits / "kept" / "ours.json").read_text()
    assert "kept" not in run("--only", "ours", "--timed", 7).stderr
    assert (portraits / "kept" / "ours.json").read_text() != before


def test_a_damaged_file_is_measured_anew(run, portraits):
    (portraits / "kept").mkdir()
    (portraits / "kept" / "ours.json").write_text("[]")
    result = run("--only", "ours")
    assert result.exit_code == 0, result.output
    assert "kept from" not in result.stderr


def test_the_table_names_every_system(run, shared_data):
    teacher = shared_data / "teacher" / "mobilefacenet.onnx"
    result = run("--only", "ours", "--only", "teacher", "--teacher", teacher)
    assert result.exit_code == 0, result.output
    for word in ("ours", "teacher", "TAR@0.1%", "95 % intervals", "MobileFaceNet", "Apache-2.0"):
        assert word in result.stdout
    (report,) = json.loads(run("--only", "teacher", "--teacher", teacher, "--json").stdout)
    assert (report["peer"]["size"], report["peer"]["weight_bytes"]) == (128, teacher.stat().st_size)
    assert 9e5 < report["peer"]["parameters"] < 1.1e6


def test_a_peer_runs_in_a_process_of_its_own(run):
    result = run("--only", "facenet", "--json")
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert report["verification"] is None
    assert report["peer"]["size"] == 512


def test_an_unknown_system_is_wrong_usage(run):
    result = run("--only", "nobody")
    assert result.exit_code == 2
    assert "no system nobody" in result.stderr


def test_wrong_pairs_end_with_2(run, portraits):
    (portraits / "pairs.csv").write_text("image\nx\n")
    result = run("--only", "ours")
    assert result.exit_code == 2
    assert result.stdout == ""
