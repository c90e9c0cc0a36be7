import json

import numpy as np
import pytest

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.identification import GALLERIES, Labelled, identification_report, labelled
from evaluation.protocol import IndexEntry
from evaluation.report import as_json


def crowd(name, people, photographs, seed, size=16, spread=0.5):
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(people, size)), photographs, axis=0)
    vectors = vectors + spread * rng.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Labelled(vectors.astype(np.float32), tuple(f"{name}{n // photographs}" for n in range(len(vectors))))


def searched(probes, gallery, threshold):
    """Search everybody in one gallery, one by one: rank-1 share, FNIR and FPIR."""
    first, missed, named, mated = 0, 0, 0, 0
    enrolled = {}
    for row, person in enumerate(probes.people):
        enrolled.setdefault(person, row)
    for row, person in enumerate(probes.people):
        rivals = [float(probes.embeddings[row] @ vector) for vector, owner in gallery if owner != person]
        named += max(rivals) >= threshold
        if enrolled[person] == row:
            continue
        mated += 1
        mate = float(probes.embeddings[row] @ probes.embeddings[enrolled[person]])
        first += mate > max(rivals)
        missed += not (mate > max(rivals) and mate >= threshold)
    return first / mated, missed / mated, named / len(probes.people)


def test_the_whole_gallery_gives_what_searching_one_by_one_gives():
    probes, strangers = crowd("a", 30, 3, 1), crowd("s", 20, 2, 2)
    report = identification_report(probes, [strangers], sizes=[70], threshold_for=lambda size: 0.6)
    figures = report.galleries[0]
    gallery = [(probes.embeddings[row], probes.people[row]) for row in range(0, 90, 3)]
    gallery += list(zip(strangers.embeddings, strangers.people, strict=True))
    assert (figures.size, figures.n_people, figures.n_galleries) == (70, 50, 1)
    rank1, fnir, fpir = searched(probes, gallery, 0.6)
    assert (figures.rank1, figures.policy_fnir, figures.policy_fpir) == pytest.approx((rank1, fnir, fpir))
    assert (figures.n_mated_searches, figures.n_non_mated_searches) == (60, 90)
    at_rate = searched(probes, gallery, figures.threshold)
    assert figures.fnir == pytest.approx(at_rate[1])
    assert at_rate[2] <= report.fpir
    assert (report.n_available, report.n_available_people, report.n_distractors) == (70, 50, 40)


def test_larger_galleries_are_harder_and_sizes_that_cannot_be_had_are_named():
    report = identification_report(crowd("a", 60, 2, 3), [crowd("s", 400, 1, 4)], sizes=[10, 100, 5000])
    assert [figures.size for figures in report.galleries] == [10, 100, 460]
    assert report.too_large == (5000,)
    assert [figures.n_galleries for figures in report.galleries] == [GALLERIES, GALLERIES, 1]
    rank1 = [figures.rank1 for figures in report.galleries]
    thresholds = [figures.threshold for figures in report.galleries]
    assert rank1 == sorted(rank1, reverse=True)
    assert thresholds == sorted(thresholds)
    assert all(figures.policy_fpir is None is figures.ci95.policy_fnir for figures in report.galleries)


def test_intervals_hold_the_figures_and_the_same_seed_gives_the_same_report():
    def measured(seed=1):
        return identification_report(crowd("a", 60, 3, 5), [], sizes=[40], threshold_for=lambda _: 0.7, seed=seed)

    report = measured()
    assert report == measured() != measured(seed=2)
    figures = report.galleries[0]
    for value, interval in (
        (figures.rank1, figures.ci95.rank1),
        (figures.policy_fpir, figures.ci95.policy_fpir),
        (figures.policy_fnir, figures.ci95.policy_fnir),
    ):
        assert interval.low <= value <= interval.high
    assert json.dumps(as_json(report), allow_nan=False)


def test_failures_to_acquire_find_nobody():
    probes = crowd("a", 20, 2, 6, spread=0.01)
    whole = identification_report(probes, [], sizes=[20], threshold_for=lambda _: 0.9).galleries[0]
    report = identification_report(probes, [], sizes=[20], threshold_for=lambda _: 0.9, failed=["a0", "a1", "unknown"])
    figures = report.galleries[0]
    assert whole.policy_fnir == 0
    assert figures.policy_fnir == pytest.approx(2 / 22)
    assert figures.n_non_mated_searches == whole.n_non_mated_searches + 3
    assert report.fta == pytest.approx(3 / 43)


def test_a_distractor_of_the_same_name_is_the_same_person():
    probes = crowd("a", 10, 2, 7, spread=0.01)
    twins = Labelled(probes.embeddings, probes.people)
    report = identification_report(probes, [twins], sizes=[30], threshold_for=lambda _: 0.95)
    assert report.galleries[0].policy_fpir == 0
    assert report.galleries[0].n_people == 10


def test_nobody_twice_is_an_error_not_a_figure():
    with pytest.raises(MalformedInput, match="two photographs"):
        identification_report(crowd("a", 10, 1, 8), [], sizes=[5])


def test_images_without_a_subject_are_people_of_their_own_set():
    acquired = Acquired(np.eye(2, dtype=np.float32), {"1": 0, "2": 1}, ("3",), ())
    index = [IndexEntry("1", "anna"), IndexEntry("2"), IndexEntry("3")]
    assert labelled(index, acquired, of="first").people == ("anna", "/first/2")
    assert labelled(index, acquired, of="second").people != labelled(index, acquired, of="first").people
