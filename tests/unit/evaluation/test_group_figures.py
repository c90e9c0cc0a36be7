import itertools
import json

import numpy as np
import pytest

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.closest_pairs import BLOCK, closest_pairs
from evaluation.groups import OVERALL, group_report
from evaluation.protocol import IndexEntry
from evaluation.report import as_json


def people_of(groups, rng, photographs=1, size=24):
    """Return an index and embeddings; a group's spread says how far its people lie apart."""
    index, vectors = [], []
    for group, (count, spread) in groups.items():
        middle = rng.normal(size=size)
        for person in range(count):
            center = middle + spread * rng.normal(size=size)
            for number in range(photographs):
                index.append(
                    IndexEntry(f"{group}/{person}-{number}", f"{group}{person}" if photographs > 1 else "", group)
                )
                vectors.append(center + 0.2 * rng.normal(size=size))
    matrix = np.array(vectors, np.float32)
    rows = {entry.path: row for row, entry in enumerate(index)}
    return index, Acquired(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), rows, (), ())


def counted(index, acquired, threshold):
    """Count false matches and comparisons between groups one by one."""
    found, tried = {}, {}
    for a, b in itertools.combinations(index, 2):
        if (a.subject or a.path) == (b.subject or b.path):
            continue
        cell = frozenset((a.group, b.group))
        tried[cell] = tried.get(cell, 0) + 1
        cosine = float(acquired.embeddings[acquired.rows[a.path]] @ acquired.embeddings[acquired.rows[b.path]])
        found[cell] = found.get(cell, 0) + (cosine >= threshold)
    return found, tried


@pytest.mark.parametrize("photographs", [1, 3])
def test_rates_are_those_of_counting_one_by_one(photographs):
    index, acquired = people_of({"x": (30, 0.5), "y": (25, 1.5), "z": (12, 1.0)}, np.random.default_rng(1), photographs)
    report = group_report(index, acquired, rate=0.05, thresholds={"given": 0.5})
    assert [point.basis for point in report.points] == [OVERALL, "given"]
    for point in report.points:
        found, tried = counted(index, acquired, point.threshold)
        assert report.n_non_mated == sum(tried.values())
        assert point.false_matches == sum(found.values())
        for group in point.groups:
            cell = frozenset((group.group,))
            assert (group.false_matches, group.n_non_mated) == (found[cell], tried[cell])
            assert group.fmr == pytest.approx(found[cell] / tried[cell])
            assert group.n_mated == (0 if photographs == 1 else 3 * group.n_subjects)
        for a, b in itertools.combinations("xyz", 2):
            cell = frozenset((a, b))
            assert point.between[a][b] == point.between[b][a] == pytest.approx(found[cell] / tried[cell])
        assert point.ratio == pytest.approx(
            max(g.fmr for g in point.groups) / min(g.fmr for g in point.groups)
            if all(g.fmr for g in point.groups)
            else 0
        )
    assert report.points[0].fmr <= 0.05 < report.points[0].fmr + 2 / report.n_non_mated


def test_mated_comparisons_give_the_false_non_match_rate():
    index, acquired = people_of({"x": (20, 1.0), "y": (20, 1.0)}, np.random.default_rng(2), 2)
    point = group_report(index, acquired, rate=0.01, thresholds={"high": 0.97}).points[1]
    for group in point.groups:
        mated = [
            float(acquired.embeddings[row] @ acquired.embeddings[row + 1])
            for row in range(0, 80, 2)
            if index[row].group == group.group
        ]
        assert group.fnmr == pytest.approx(np.mean(np.array(mated) < 0.97))
        assert group.fnmr_ci95.low <= group.fnmr <= group.fnmr_ci95.high


def test_intervals_hold_the_figures_and_the_report_is_json():
    index, acquired = people_of({"near": (60, 0.4), "far": (60, 1.2)}, np.random.default_rng(3))
    report = group_report(index, acquired, rate=0.01)
    point = report.points[0]
    assert (point.worst, point.best) == ("near", "far")
    near = point.groups[0]
    assert near.fmr_ci95.low <= near.fmr <= near.fmr_ci95.high
    assert json.dumps(as_json(report), allow_nan=False)
    assert group_report(index, acquired, rate=0.01) == report


def test_the_closest_pairs_do_not_depend_on_blocks_or_floor():
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(BLOCK + 100, 8)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    people = np.arange(len(matrix)) // 2
    cosines = matrix @ matrix.T
    a, b = np.triu_indices(len(matrix), 1)
    others = np.sort(cosines[a, b][people[a] != people[b]])[::-1]
    few = closest_pairs(matrix, people, keep=50)
    assert few.scores[:50] == pytest.approx(others[:50], abs=1e-6)
    assert len(few.mated) == len(matrix) // 2
    more = closest_pairs(matrix, people, keep=50, floor=0.8)
    assert len(more.scores) == (others >= 0.8).sum() > 50
    assert np.all(people[more.first] != people[more.second])


def test_images_without_an_embedding_take_no_part_and_are_counted():
    index, acquired = people_of({"x": (5, 1.0), "y": (5, 1.0)}, np.random.default_rng(5))
    lost = IndexEntry("x/lost", "", "x")
    report = group_report([*index, lost], Acquired(acquired.embeddings, acquired.rows, ("x/lost",), ()), rate=0.2)
    assert report.fta == {"x": 1 / 6, "y": 0.0}
    assert report.unreadable == ("x/lost",)
    assert report.n_images == 10


def test_ties_at_the_common_threshold_fall_together():
    same = np.ones((6, 4), np.float32) / 2
    index = [IndexEntry(str(n), "", "xy"[n % 2]) for n in range(6)]
    report = group_report(index, Acquired(same, {str(n): n for n in range(6)}, (), ()), rate=0.5)
    assert report.points[0].false_matches == 0
    assert report.points[0].ratio is None


def test_contradictions_are_refused():
    acquired = Acquired(np.eye(3, dtype=np.float32), {"a": 0, "b": 1, "c": 2}, (), ())
    with pytest.raises(MalformedInput, match="two groups"):
        group_report([IndexEntry("a", "p", "x"), IndexEntry("b", "p", "y"), IndexEntry("c", "q", "x")], acquired)
    with pytest.raises(MalformedInput, match="two people"):
        group_report([IndexEntry("a", "p", "x"), IndexEntry("b", "p", "x")], acquired)
