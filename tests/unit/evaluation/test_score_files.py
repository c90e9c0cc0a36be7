import math
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired, acquire_aligned, only_aligned
from evaluation.images import index_in, open_images
from evaluation.protocol import IndexEntry, Pair, parse_index, read_people
from evaluation.rates import REFUSED
from evaluation.report import as_json
from evaluation.scores import ScoredPairs, parse_scores, read_score_file, score_pairs, write_score_file
from evaluation.verification import report_on, report_on_scores
from tests.fakes import FakeFaceEmbedder

HEADER = "image_a,image_b,same,score"


def population(people, photographs, seed=3, size=32):
    """Return embeddings of photographs named `person_number`, of any length of vector."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(people, size)), photographs, axis=0)
    vectors = vectors + 0.8 * rng.normal(size=vectors.shape)
    names = [f"p{person}_{number:04}" for person in range(people) for number in range(photographs)]
    embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Acquired(embeddings, {name: row for row, name in enumerate(names)}, (), ())


def pairs_among(people):
    """Return mated and non-mated pairs, some with photographs that cannot be had."""
    pairs = [Pair(f"p{p}_0000", f"p{p}_0001", True, str(p % 4)) for p in range(people)]
    pairs += [Pair(f"p{p}_0000", f"p{(p + 1) % people}_0001", False, str(p % 4)) for p in range(people)]
    return [*pairs, Pair("p0_0000", "p0_broken_0009", False), Pair("blank_0001", "p0_broken_0009", False)]


def test_the_report_from_a_score_file_is_the_report_from_the_photographs(tmp_path):
    whole = population(40, 2)
    acquired = Acquired(whole.embeddings, whole.rows, ("p0_broken_0009",), ("blank_0001",))
    pairs = pairs_among(40)
    write_score_file(tmp_path / "scores.csv", score_pairs(pairs, acquired))
    again = read_score_file(tmp_path / "scores.csv")
    assert as_json(report_on_scores(again.pairs, again.scores, again)) == as_json(report_on(pairs, acquired))
    assert (again.unreadable, again.without_face) == (("p0_broken_0009",), ("blank_0001",))


def test_a_score_file_names_subjects_and_leaves_failures_empty(tmp_path):
    acquired = Acquired(np.eye(2, dtype=np.float32), {"a_1": 0, "b_1": 1}, ("a_2",), ())
    write_score_file(tmp_path / "s.csv", score_pairs([Pair("a_1", "b_1", False), Pair("a_1", "a_2", True)], acquired))
    assert (tmp_path / "s.csv").read_text().splitlines() == [
        "subject_a,subject_b,image_a,image_b,same,fold,score,failure_a,failure_b",
        "a,b,a_1,b_1,0,,0.0,,",
        "a,a,a_1,a_2,1,,,,unreadable",
    ]


@given(st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=20))
def test_scores_come_back_to_the_last_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    pairs = [Pair(f"i{n}", f"j{n}", bool(n % 2)) for n in range(len(values))]
    write_score_file(path, ScoredPairs(pairs, np.array(values), 2 * len(values), (), ()))
    again = read_score_file(path)
    assert again.scores.tolist() == values
    assert again.pairs == pairs


def test_files_of_others_need_not_say_why_a_score_is_missing():
    scored = parse_scores(f"{HEADER}\na,b,1,0.5\na,c,0,\n")
    assert scored.scores.tolist() == [0.5, REFUSED]
    assert scored.without_face == ("c",)
    assert (scored.n_images, scored.n_failed) == (3, 1)


@pytest.mark.parametrize(
    "rows",
    [
        "a,b,1,nan",
        "a,b,1,inf",
        "a,b,1,high",
        "a,b,maybe,0.5",
        "a,b,1,0.5\nc,d,0,0.1\na,c,0,",
    ],
)
def test_wrong_scores_are_refused(rows):
    with pytest.raises(MalformedInput) as failure:
        parse_scores(f"{HEADER}\n{rows}\n")
    assert "high" not in failure.value.detail


@pytest.mark.parametrize("row", ["a,b,1,,asleep,", "a,b,1,0.5,unreadable,", "a,b,1,,unreadable,\na,c,0,0.5,,"])
def test_contradicting_failures_are_refused(row):
    with pytest.raises(MalformedInput):
        parse_scores(f"{HEADER},failure_a,failure_b\n{row}\n")


@given(st.text())
def test_any_text_is_scores_or_a_clear_error(text):
    for content in (text, f"{HEADER}\n{text}"):
        try:
            scored = parse_scores(content)
        except MalformedInput:
            continue
        assert len(scored.pairs) == len(scored.scores)
        assert not any(math.isnan(score) for score in scored.scores)


def test_an_index_names_each_image_once_and_what_is_required():
    assert parse_index("path,group\na/b.webp,x\n", required=("group",)) == [IndexEntry("a/b.webp", "", "x")]
    for wrong in ("path,group\na,x\na,y\n", "path,group\na,\n", "path\na\n", "path,group\n../a,x\n"):
        with pytest.raises(MalformedInput):
            parse_index(wrong, required=("group",))


def test_people_come_from_an_index_or_from_pairs(tmp_path):
    (tmp_path / "index.csv").write_text("path,subject\nx/1.jpg,anna\nx/Bo_0001.jpg,\n")
    assert read_people(tmp_path / "index.csv") == [IndexEntry("x/1.jpg", "anna"), IndexEntry("x/Bo_0001.jpg", "Bo")]
    (tmp_path / "pairs.csv").write_text("image_a,image_b,same\nAnn_0001,Ann_0002,1\nAnn_0001,x,0\n")
    expected = [IndexEntry("Ann_0001", "Ann"), IndexEntry("Ann_0002", "Ann"), IndexEntry("x", "")]
    assert read_people(tmp_path / "pairs.csv") == expected


def test_a_set_brings_its_own_index(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("index.csv", "path,subject\n1.png,a\n")
    (tmp_path / "index.csv").write_bytes(b"\xff\xfe")
    with open_images(tmp_path / "faces.zip") as source:
        assert index_in(source) == [IndexEntry("1.png", "a")]
    with open_images(tmp_path) as source, pytest.raises(MalformedInput):
        index_in(source)


def test_aligned_faces_need_their_size():
    sizes = {"right": 112, "wrong": 100}
    load = only_aligned(lambda name: np.full((sizes[name], sizes[name], 3), 90, np.uint8))
    acquired = acquire_aligned(sizes, load, embedder=FakeFaceEmbedder())
    assert (list(acquired.rows), acquired.without_face) == (["right"], ("wrong",))
