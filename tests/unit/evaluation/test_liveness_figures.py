import csv
import json

import numpy as np
import pytest

from biometrics.errors import MalformedInput
from biometrics.types import Box, Face
from evaluation.liveness import Assessed, Scored, assess_all, faces_within, liveness_report, write_scores
from evaluation.protocol import Presentation
from evaluation.report import as_json
from infra.models import build_detector
from infra.settings import Settings
from tests.fakes import FakeFaceDetector, FakePadDetector

REQUIRED_KEYS = {"apcer", "apcer_max", "bpcer", "bpcer20", "acer", "eer", "n"}


def presented(name, score, species="", subject=""):
    presentation = Presentation(name, species == "", species, subject)
    return Scored(presentation, score >= 0.5, score)


@pytest.fixture
def assessed():
    live = [presented(f"live{n}", score, subject=f"s{n}") for n, score in enumerate([0.9, 0.95, 0.7, 0.4])]
    prints = [presented(f"print{n}", score, "print", f"s{n}") for n, score in enumerate([0.1, 0.2, 0.6, 0.1])]
    screens = [presented(f"screen{n}", score, "screen", f"s{n}") for n, score in enumerate([0.3, 0.2])]
    return Assessed((*live, *prints, *screens), (Presentation("dark", True),), (Presentation("torn", False, "print"),))


def test_figures_follow_the_definitions(assessed):
    report = liveness_report(assessed)
    assert report.apcer == {"print": 0.25, "screen": 0.0}
    assert report.apcer_max == 0.25
    assert report.bpcer == 0.25
    assert report.acer == 0.25
    assert report.bpcer20 == 0.25  # just above 0.6 no attack passes, and three of four live faces do
    assert report.eer == 0.25
    assert report.n == 12
    assert report.fta == pytest.approx(2 / 12)
    assert report.n_scored == {"bona_fide": 4, "print": 4, "screen": 2}
    assert report.non_response == {"bona_fide": 0.2, "print": 0.2, "screen": 0}
    assert (report.unreadable, report.without_face) == (("torn",), ("dark",))
    assert report.ci95.apcer["screen"] == pytest.approx((0, 0.841886), abs=1e-5)


def test_json_has_the_promised_keys(assessed):
    plain = json.loads(json.dumps(as_json(liveness_report(assessed)), allow_nan=False))
    assert plain.keys() >= REQUIRED_KEYS
    assert plain["ci95"].keys() >= {"apcer", "apcer_max", "bpcer", "bpcer20", "acer", "eer"}
    assert plain["ci95"]["apcer"].keys() == plain["apcer"].keys() == {"print", "screen"}


def test_without_attacks_nothing_is_claimed_about_them():
    report = liveness_report(Assessed((presented("live", 0.9),), (), ()))
    assert (report.apcer, report.apcer_max, report.acer, report.eer, report.bpcer20) == ({}, None, None, None, None)
    assert report.bpcer == 0
    assert json.dumps(as_json(report), allow_nan=False)


def test_pictures_become_verdicts_and_bad_files_are_named():
    def load(name):
        if name == "torn":
            raise MalformedInput("torn")
        return np.full((100, 100, 3), 200 if name == "bright" else 40, np.uint8)

    shown = [Presentation("bright", True), Presentation("dim", False, "print"), Presentation("torn", True)]
    face = Face(Box(10, 10, 50, 50), 0.99, np.zeros((5, 2), np.float32))
    assessed = assess_all(shown, load, detector=FakeFaceDetector(face), pad=FakePadDetector())
    assert [(one.presentation.image, one.passed) for one in assessed.scored] == [("bright", True), ("dim", False)]
    assert assessed.unreadable == (shown[2],)
    assert assess_all(shown[:1], load, detector=FakeFaceDetector(), pad=FakePadDetector()).without_face == (shown[0],)
    with pytest.raises(MalformedInput, match="folder"):
        assess_all(shown[2:], load, detector=FakeFaceDetector(), pad=FakePadDetector())


def test_a_face_cut_too_tight_is_found_with_a_border_and_placed_in_the_original(astronaut):
    detector = build_detector(Settings())
    [whole] = detector.detect(astronaut)
    x, y = int(whole.box.x) + 8, int(whole.box.y) + 16
    tight = np.ascontiguousarray(astronaut[y : y + 83, x : x + 74])
    assert detector.detect(tight) == []
    found = faces_within(tight, detector)
    assert len(found) == 1
    shift = found[0].landmarks - (whole.landmarks - np.float32([x, y]))
    assert np.abs(shift).max() < 5


def test_score_file_holds_what_metrics_need_and_no_picture(assessed, tmp_path):
    write_scores(tmp_path / "scores.csv", assessed)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[4] == {
        "image": "print0",
        "label": "attack",
        "species": "print",
        "subject": "s0",
        "domain": "",
        "score": "0.100000",
        "passed": "0",
    }
    with pytest.raises(MalformedInput, match="cannot be written"):
        write_scores(tmp_path / "absent" / "scores.csv", assessed)
