"""`dwarpal evaluate report` on real photographs, with the real networks."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from biometrics.types import Pixels
from services.cli.main import app
from tests.conftest import encode


def run(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", "report", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory, astronaut: Pixels, grace_hopper: Pixels) -> Path:
    """Pairs, groups and distractors; Collins and Hopper twice each, one torn file."""
    folder = tmp_path_factory.mktemp("evaluation")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("Collins_0001.jpg", encode(astronaut))
        archive.writestr("Collins_0002.jpg", encode(astronaut[:360, 60:420]))
        archive.writestr("Hopper_0001.jpg", encode(grace_hopper))
        archive.writestr("Hopper_0002.jpg", encode(np.ascontiguousarray(grace_hopper[:, ::-1])))
        archive.writestr("torn.jpg", encode(astronaut)[:200])
    pairs = [
        "image_a,image_b,same",
        "Collins_0001.jpg,Collins_0002.jpg,1",
        "Hopper_0001.jpg,Hopper_0002.jpg,1",
        "Collins_0001.jpg,Hopper_0001.jpg,0",
        "Hopper_0002.jpg,torn.jpg,1",
    ]
    (folder / "pairs.csv").write_text("\n".join(pairs))
    (folder / "groups.csv").write_text("path,group\nCollins_0001.jpg,air\nHopper_0001.jpg,sea\nCollins_0002.jpg,air\n")
    with zipfile.ZipFile(folder / "strangers.zip", "w") as archive:
        noise = np.random.default_rng(5).integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)
        archive.writestr("index.csv", "path\n" + "\n".join(f"{i}.png" for i in range(6)))
        for i, face in enumerate(noise):
            archive.writestr(f"{i}.png", encode(face, "PNG"))
    return folder


@pytest.fixture(scope="module")
def written(data: Path) -> Path:
    """A report with everything in it."""
    out = data / "report.html"
    result = run(
        *("--pairs", data / "pairs.csv", "--images", data / "images.zip", "--out", out),
        *("--groups", data / "groups.csv", "--group-images", data / "images.zip"),
        *("--conditions", "jpeg/q20", "--distractors", data / "strangers.zip", "--size", 4),
    )
    assert result.exit_code == 0, result.output
    assert str(out) in result.stdout
    return out


def test_everything_is_measured_and_kept(written: Path) -> None:
    page = written.read_text()
    figures = json.loads(written.with_suffix(".json").read_text())
    assert figures["verification"]["n_pairs"] == 4
    assert figures["verification"]["unreadable"] == ["torn.jpg"]
    assert [group["group"] for group in figures["groups"]["points"][0]["groups"]] == ["air", "sea"]
    assert [one["condition"] for one in figures["robustness"]["conditions"]] == ["clean", "jpeg/q20"]
    assert figures["identification"]["galleries"][0]["size"] == 4
    assert figures["provenance"]["network"]["sha256"] in page
    assert "torn.jpg" in page
    assert "<img" not in page


def test_a_report_is_drawn_anew_from_its_figures(written: Path, data: Path) -> None:
    out = data / "again.html"
    result = run("--figures", written.with_suffix(".json"), "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == 0
    assert out.read_bytes() == written.read_bytes()
    assert not out.with_suffix(".json").exists()


def test_other_goals_give_another_verdict(written: Path, data: Path) -> None:
    (data / "goals.json").write_text(json.dumps([{"figure": "fta", "bound": "at_most", "value": 0.01}]))
    result = run(
        "--figures", written.with_suffix(".json"), "--out", data / "g.html", "--goals", data / "goals.json", "--json"
    )
    assert json.loads(result.stdout)["goals"] == [{"figure": "fta", "outcome": "missed"}]


def test_pictures_only_where_asked_and_for_the_owner_only(data: Path) -> None:
    folder = data / "pictures"
    folder.mkdir()
    with zipfile.ZipFile(data / "images.zip") as archive:
        archive.extractall(folder)
    out = data / "pictures.html"
    result = run("--pairs", data / "pairs.csv", "--images", folder, "--out", out, "--with-images")
    assert result.exit_code == 0, result.output
    page = out.read_text()
    assert "This file holds photographs of people." in page
    assert page.count("data:image/jpeg;base64,") == 1  # of the pair with the torn file
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "base64" not in out.with_suffix(".json").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "r.html"],
        ["--out", "r.txt", "--figures", "report.json"],
        ["--out", "nowhere/r.html", "--figures", "report.json"],
        ["--out", "r.html", "--figures", "report.html"],
        ["--out", "r.html", "--figures", "pairs.csv"],
        ["--out", "r.html", "--figures", "report.json", "--with-images"],
        ["--out", "r.html", "--figures", "report.json", "--pairs", "pairs.csv"],
        ["--out", "r.html", "--figures", "report.json", "--goals", "pairs.csv"],
        ["--out", "r.html", "--pairs", "pairs.csv"],
        ["--out", "r.html", "--pairs", "pairs.csv", "--images", "images.zip", "--groups", "groups.csv"],
        ["--out", "r.html", "--pairs", "pairs.csv", "--images", "images.zip", "--conditions", "rain"],
    ],
)
def test_wrong_use_ends_with_2_and_one_line(
    written: Path, data: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(data)
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (data / "r.html").exists()


def test_a_file_that_is_no_report_is_not_overwritten(data: Path) -> None:
    (data / "model.json").write_text('{"name": "a card"}')
    result = run("--pairs", data / "pairs.csv", "--images", data / "images.zip", "--out", data / "model.html")
    assert result.exit_code == 2
    assert (data / "model.json").read_text() == '{"name": "a card"}'


def test_thumbnails_are_small_and_bare(data: Path) -> None:
    import base64
    import io
    import re

    page = (data / "pictures.html").read_text()
    for encoded in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            assert max(picture.size) <= 192
            assert "exif" not in picture.info
            assert "comment" not in picture.info
