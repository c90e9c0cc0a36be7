"""The commands for score files, groups, robustness and identification, with the real networks."""

import json
import zipfile

import pytest
from typer.testing import CliRunner

from biometrics.alignment import align
from infra.models import build_detector
from infra.settings import Settings
from services.cli.main import app
from tests.conftest import encode


@pytest.fixture(scope="module")
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, ["evaluate", *(str(argument) for argument in arguments)])

    return invoke


@pytest.fixture(scope="module")
def faces(tmp_path_factory, astronaut, grace_hopper):
    """Photographs of two people with pairs, and aligned faces with groups and subjects."""
    folder = tmp_path_factory.mktemp("faces")
    detector = build_detector(Settings())
    photographs = {
        "Collins_0001": astronaut,
        "Collins_0002": astronaut[:360, 60:420],
        "Hopper_0001": grace_hopper,
        "Hopper_0002": grace_hopper[:, 20:],
    }
    with zipfile.ZipFile(folder / "photographs.zip", "w") as archive:
        for name, image in photographs.items():
            archive.writestr(f"{name}.jpg", encode(image))
    rows = []
    with zipfile.ZipFile(folder / "aligned.zip", "w") as archive:
        for name, image in photographs.items():
            aligned = align(image, detector.detect(image)[0].landmarks)
            archive.writestr(f"{name}.png", encode(aligned, "PNG"))
            rows.append(f"{name}.png,{name[:-5]},{name[0]}")
        (folder / "index.csv").write_text("\n".join(["path,subject,group", *rows]))
        archive.writestr("index.csv", (folder / "index.csv").read_text())
    pairs = ["Collins_0001.jpg,Collins_0002.jpg,1", "Hopper_0001.jpg,Hopper_0002.jpg,1"]
    pairs += ["Collins_0001.jpg,Hopper_0002.jpg,0", "Hopper_0001.jpg,Collins_0002.jpg,0"]
    (folder / "pairs.csv").write_text("\n".join(["image_a,image_b,same", *pairs]))
    return folder


def test_scores_print_what_verification_printed(run, faces):
    written = faces / "scores.csv"
    images = ("--images", faces / "photographs.zip")
    first = run("verification", faces / "pairs.csv", *images, "--score-file", written, "--json")
    assert first.exit_code == 0, first.output
    again = run("scores", written, "--json")
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    table = run("scores", written, "--plot", faces / "det.svg")
    assert "TAR at FAR 0.001" in table.stdout
    assert (faces / "det.svg").exists()


def test_groups_at_the_sets_own_and_the_cards_threshold(run, faces):
    arguments = ("groups", faces / "index.csv", "--images", faces / "aligned.zip", "--aligned")
    result = run(*arguments, "--fmr", 0.01, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [point["basis"] for point in report["points"]] == ["overall", "model card"]
    assert report["n_non_mated"] == 4
    assert report["points"][1]["groups"][0]["fnmr"] == 0
    table = run(*arguments, "--threshold", 0.4)
    assert table.exit_code == 0, table.output
    assert "Threshold 0.4000 (threshold given)" in table.stdout


def test_groups_refuse_a_score_file_that_is_too_small(run, faces):
    (faces / "few.csv").write_text("image_a,image_b,same,score\na,b,0,0.1\n")
    arguments = ("groups", faces / "index.csv", "--images", faces / "aligned.zip", "--aligned")
    result = run(*arguments, "--against", faces / "few.csv")
    assert result.exit_code == 2
    assert "too few" in result.stderr


def test_robustness_measures_the_conditions_asked_for(run, faces):
    arguments = ("robustness", faces / "pairs.csv", "--images", faces / "photographs.zip", "--limit", 1)
    result = run(*arguments, "--conditions", "jpeg/q20,occlusion/mask", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [one["condition"] for one in report["conditions"]] == ["clean", "jpeg/q20", "occlusion/mask"]
    assert (report["n_mated"], report["n_non_mated"], report["farthest_face_pixels"]) == (1, 1, 20)
    table = run(*arguments, "--conditions", "jpeg/q20")
    assert "jpeg/q20" in table.stdout
    assert run(*arguments, "--conditions", "fog").exit_code == 2


def test_identification_says_what_it_could_not_have(run, faces):
    images = ("--images", faces / "photographs.zip")
    more = ("--distractors", faces / "aligned.zip", "--size", 2, "--size", 500)
    result = run("identification", faces / "pairs.csv", *images, *more, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["too_large"] == [500]
    assert [figures["size"] for figures in report["galleries"]] == [2, 6]
    assert report["galleries"][0]["rank1"] == 1
    table = run("identification", faces / "index.csv", "--images", faces / "aligned.zip", "--aligned", "--size", 500)
    assert table.exit_code == 0, table.output
    assert "no gallery of 500" in table.stderr


def test_an_embedder_may_be_named_by_its_card(run, faces):
    arguments = ("groups", faces / "index.csv", "--images", faces / "aligned.zip", "--aligned", "--json")
    assert run(*arguments, "--embedder", faces / "none.json").exit_code == 3
    assert run(*arguments, "--embedder", "none").exit_code == 3


@pytest.mark.parametrize("command", ["groups", "robustness", "identification"])
def test_wrong_files_end_with_2_and_one_line(run, faces, command):
    (faces / "wrong").write_text("image\nx\n")
    result = run(command, faces / "wrong", "--images", faces / "aligned.zip", "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_wrong_score_file_ends_with_2(run, faces):
    (faces / "wrong").write_text("image\nx\n")
    assert run("scores", faces / "wrong").exit_code == 2


def test_networks_stand_beside_each_other_with_time_and_size(run, faces):
    drawn = faces / "networks.svg"
    asked = (
        "networks",
        faces / "pairs.csv",
        "mobilefacenet512",
        "mobilefacenet512",
        "--images",
        faces / "photographs.zip",
    )
    table = run(*asked, "--runs", 2, "--plot", drawn)
    assert table.exit_code == 0, table.output
    assert table.stdout.count("1.2 M") == 2
    assert "milliseconds" in drawn.read_text()
    alone = run("verification", faces / "pairs.csv", "--images", faces / "photographs.zip", "--cross", "--json")
    figures = json.loads(run(*asked, "--runs", 2, "--json").stdout)["mobilefacenet512"]
    assert figures["embed"]["median_ms"] > 0
    assert figures["cross"] == json.loads(alone.stdout)["cross"]
