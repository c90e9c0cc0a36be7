import json

import numpy as np
import pytest

from biometrics.errors import MalformedInput, UnsupportedImage
from biometrics.types import Box, Face
from evaluation.acquisition import Acquired, acquire_all
from evaluation.closest_pairs import BLOCK
from evaluation.cross import cross_report
from evaluation.protocol import FacePolicy, Pair, parse_pairs, subjects
from evaluation.rates import REFUSED, Support
from evaluation.report import as_json
from evaluation.verification import pair_scores, report_on
from tests.fakes import FakeFaceDetector, FakeFaceEmbedder

REQUIRED_KEYS = {"n_pairs", "fta", "accuracy", "tar_at_far", "threshold", "eer", "ci95"}
LANDMARKS = np.array([[40, 50], [70, 50], [55, 70], [42, 90], [68, 90]], np.float32)


def face_at(x, size):
    return Face(Box(x, 10, size, size), 0.99, LANDMARKS + np.float32([x, 0]))


def acquired_from(vectors, failed=()):
    """Embeddings of images named by the keys; the failed ones gave no face."""
    rows = {name: row for row, name in enumerate(vectors)}
    matrix = np.array(list(vectors.values()), np.float32).reshape(len(rows), -1)
    return Acquired(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), rows, (), tuple(failed))


def population(people, photographs, rng, spread=0.6):
    """Random embeddings of images named `person_number`."""
    centers = rng.normal(size=(people, 32))
    return {
        f"p{person}_{number:04}": centers[person] + spread * rng.normal(size=32)
        for person in range(people)
        for number in range(photographs)
    }


def test_each_distinct_image_is_processed_once_and_failures_are_named():
    loaded = []

    def load(name):
        loaded.append(name)
        if name == "broken":
            raise MalformedInput("broken")
        if name == "foreign":
            raise UnsupportedImage("foreign")
        return np.full((120, 120, 3), 10 * len(loaded), np.uint8)

    seen = []
    acquired = acquire_all(
        ["a", "b", "a", "broken", "foreign", "b"],
        load,
        detector=FakeFaceDetector(face_at(5, 60)),
        embedder=FakeFaceEmbedder(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert loaded == ["a", "b", "broken", "foreign"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert acquired.rows == {"a": 0, "b": 1}
    assert acquired.embeddings.shape == (2, 512)
    assert acquired.unreadable == ("broken", "foreign")
    assert (acquired.n_images, acquired.n_failed) == (4, 2)


def test_more_images_than_a_batch_keep_their_rows():
    names = [str(number) for number in range(130)]
    images = {name: np.random.default_rng(int(name)).integers(0, 255, (120, 120, 3), np.uint8) for name in names}
    parts = {"detector": FakeFaceDetector(face_at(0, 60)), "embedder": FakeFaceEmbedder()}
    together = acquire_all(names, images.__getitem__, **parts)
    for name in ("0", "63", "64", "129"):
        alone = acquire_all([name], images.__getitem__, **parts)
        assert together.embeddings[together.rows[name]] == pytest.approx(alone.embeddings[0])


def test_a_wrong_folder_is_an_error_not_a_figure():
    def load(name):
        raise MalformedInput("missing")

    with pytest.raises(MalformedInput, match="folder"):
        acquire_all(["a"], load, detector=FakeFaceDetector(), embedder=FakeFaceEmbedder())


@pytest.mark.parametrize(("policy", "expected"), [("center", 1), ("largest", 0), ("only", None)])
def test_the_policy_chooses_the_face(policy, expected):
    faces = [face_at(0, 60), face_at(90, 50)]  # the second is nearer the middle of 200 pixels
    image = np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)
    parts = {"embedder": FakeFaceEmbedder(), "face": FacePolicy(policy)}
    acquired = acquire_all(["a"], lambda _: image, detector=FakeFaceDetector(*faces), **parts)
    if expected is None:
        assert acquired.without_face == ("a",)
        return
    alone = acquire_all(["a"], lambda _: image, detector=FakeFaceDetector(faces[expected]), **parts)
    assert acquired.embeddings == pytest.approx(alone.embeddings)


def test_failures_to_acquire_reject_mated_and_non_mated_alike():
    acquired = acquired_from({"a_1": [1, 0], "a_2": [1, 0.1], "b_1": [0, 1]}, failed=["a_3"])
    pairs = [
        Pair("a_1", "a_2", True),
        Pair("a_1", "a_3", True),
        Pair("a_1", "b_1", False),
        Pair("a_3", "b_1", False),
    ]
    assert pair_scores(pairs, acquired).tolist() == pytest.approx([0.995037, REFUSED, 0.0, REFUSED], abs=1e-5)
    report = report_on(pairs, acquired)
    assert report.fta == 0.25
    assert report.tar_at_far["0.01"] == 0.5
    assert report.support == {"0.01": Support.UNSUPPORTED, "0.001": Support.UNSUPPORTED}


def test_figures_of_a_population_have_the_promised_keys_and_hold_in_their_intervals():
    rng = np.random.default_rng(5)
    vectors = population(60, 4, rng)
    names = list(vectors)
    pairs = [Pair(names[4 * p], names[4 * p + n], True, str(p % 10)) for p in range(60) for n in (1, 2, 3)]
    for left in range(60):
        pairs += [Pair(names[4 * left], names[4 * ((left + k) % 60)], False, str(left % 10)) for k in (1, 2, 3)]
    report = report_on(pairs, acquired_from(vectors))
    plain = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert plain.keys() >= REQUIRED_KEYS
    assert plain["tar_at_far"].keys() == plain["threshold"].keys() == {"0.01", "0.001"}
    assert plain["ci95"]["accuracy"][0] <= plain["accuracy"] <= plain["ci95"]["accuracy"][1]
    for far, tar in plain["tar_at_far"].items():
        low, high = plain["ci95"]["tar_at_far"][far]
        assert low <= tar <= high
    assert plain["eer"] < 0.2
    assert plain["resampled"] == "subjects"


def test_intervals_widen_when_the_same_pairs_come_from_fewer_people():
    rng = np.random.default_rng(6)

    def width(people, photographs):
        vectors = population(people, photographs, rng, spread=1.3)
        names = list(vectors)
        mated = [
            Pair(names[photographs * p], names[photographs * p + n], True)
            for p in range(people)
            for n in range(1, photographs)
        ]
        strangers = [Pair(a.image_a, b.image_b, False) for a, b in zip(mated, mated[photographs:], strict=False)]
        low, high = report_on(mated + strangers, acquired_from(vectors)).ci95.accuracy
        return high - low

    assert width(10, 31) > 1.5 * width(150, 3)


def test_pairs_of_one_kind_make_no_claims():
    report = report_on([Pair("a", "b", True)], acquired_from({"a": [1, 0], "b": [1, 0]}))
    assert report.tar_at_far == {"0.01": None, "0.001": None}
    assert report.eer is None
    assert json.dumps(as_json(report), allow_nan=False)


def test_cross_comparisons_in_blocks_equal_all_at_once():
    rng = np.random.default_rng(7)
    vectors = population(BLOCK // 2, 3, rng)  # more than one block
    acquired = acquired_from(vectors)
    subject_of = {name: name.split("_")[0] for name in vectors}
    report = cross_report(acquired, subject_of, rates=(0.05, 0.001))
    first, second = np.triu_indices(len(vectors), 1)
    cosines = np.einsum("ij,ij->i", acquired.embeddings[first], acquired.embeddings[second])
    same = first // 3 == second // 3
    assert (report.n_mated, report.n_non_mated) == (same.sum(), (~same).sum())
    assert [point.rate for point in report.points] == [0.05, 0.001]
    for point in report.points:
        assert point.fmr <= point.rate < point.fmr + 2 / report.n_non_mated
        assert (cosines[~same] >= point.threshold).mean() == pytest.approx(point.fmr, abs=2e-5)
        assert (cosines[same] >= point.threshold).mean() == pytest.approx(point.tar, abs=0.002)


def test_ties_at_a_cross_threshold_all_fall():
    acquired = acquired_from({f"p{person}_1": [1, 0] for person in range(20)})  # 190 equal comparisons
    report = cross_report(acquired, {name: name[:-2] for name in acquired.rows}, rates=(0.5,))
    assert report.points[0].false_matches == 0


def test_cross_needs_two_people():
    pairs = parse_pairs("image_a,image_b,same\nx.jpg,y.jpg,0\n")
    with pytest.raises(MalformedInput, match="two people"):
        cross_report(acquired_from({"x.jpg": [1, 0], "y.jpg": [0, 1]}), subjects(pairs))
