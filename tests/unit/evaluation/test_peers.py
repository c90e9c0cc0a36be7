"""Systems beside each other: failures count alike, times are of the same photographs, distances rank as they did."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from biometrics.alignment import align
from biometrics.capture import center_face
from biometrics.errors import MalformedInput, UnusableFace
from evaluation.peers import LIFT, AlignedNetwork, Peer, measure, on_sphere
from evaluation.protocol import Pair
from infra.models import build_detector, build_embedder, find_card
from infra.runtime import load_network
from infra.settings import ExecutionProvider, Settings

PEER = Peer("fake", "a fake", 2, 1, 1, "none", "none")

ANGLES = {"A_0001": 0.0, "A_0002": 0.1, "A_0003": 0.2, "B_0001": 1.5, "B_0002": 1.6, "C_0001": 3.0}
PAIRS = [
    Pair("A_0001", "A_0002", True, "1"),
    Pair("B_0001", "B_0002", True, "2"),
    Pair("A_0001", "B_0001", False, "1"),
    Pair("A_0003", "C_0001", False, "2"),
]


class FakeRecognizer:
    """Finds every face but those of the angles that it is blind to."""

    def __init__(self, *blind):
        self.blind = blind
        self.seen = []

    def find(self, image):
        angle = float(image)
        self.seen.append(angle)
        if angle in self.blind:
            raise UnusableFace("There is no face.")
        return angle

    def embed(self, sample):
        return np.array([np.cos(sample), np.sin(sample)], np.float32)


def load(name):
    return np.float64(ANGLES[name])


def test_every_photograph_is_seen_once_and_figures_follow():
    system = FakeRecognizer()
    report = measure(system, PEER, PAIRS, load)
    assert sorted(system.seen) == sorted(ANGLES.values())
    assert report.verification.eer == 0
    assert report.verification.fta == 0
    assert report.cross.n_mated == 4
    assert report.cross_tar["0.001"] == 1
    assert report.n_timed == 1  # of six, five are warm-up
    assert set(report.latency) == {"decode", "find", "embed", "photograph"}
    assert report.cpu > 0


def test_a_face_that_is_not_found_is_a_rejection_everywhere():
    report = measure(FakeRecognizer(ANGLES["A_0002"]), PEER, PAIRS, load)
    assert report.verification.without_face == ("A_0002",)
    assert report.verification.tar_at_far["0.01"] == 0.5
    assert report.cross.n_mated == 2
    assert report.cross_tar["0.001"] == 0.5  # two of the four mated comparisons, though both that took place match


def test_an_unreadable_photograph_is_a_failure_too():
    def torn(name):
        if name == "C_0001":
            raise MalformedInput("The image is missing or cannot be read.")
        return load(name)

    report = measure(FakeRecognizer(), PEER, PAIRS, torn)
    assert report.verification.unreadable == ("C_0001",)


def test_speed_alone_looks_at_the_timed_photographs_only():
    pairs = [Pair(f"P{i}_0001", f"P{i}_0002", True) for i in range(40)]
    system = FakeRecognizer()
    report = measure(system, PEER, pairs, lambda name: np.float64(1.0), accuracy=False, timed=5)
    assert len(system.seen) == 15
    assert report.n_timed == 5
    assert report.verification is None
    assert report.cross_tar == {}


def test_a_system_that_finds_nobody_has_no_figures():
    with pytest.raises(UnusableFace):
        measure(FakeRecognizer(*ANGLES.values()), PEER, PAIRS, load)


vectors = arrays(np.float32, 128, elements=st.floats(-0.125, 0.125, width=32))


@given(vectors, vectors, vectors)
def test_cosines_on_the_sphere_rank_as_distances(a, b, c):
    lifted = [on_sphere(vector).astype(np.float64) for vector in (a, b, c)]
    assert [float(np.linalg.norm(vector)) for vector in lifted] == pytest.approx([1, 1, 1], abs=1e-6)
    wide = [vector.astype(np.float64) for vector in (a, b, c)]
    near, far = (float(((wide[0] - other) ** 2).sum()) for other in wide[1:])
    lengths = [float(vector @ vector) for vector in wide]
    error = (max(lengths) - min(lengths)) ** 2 / (4 * LIFT**2) * 1.05 + 2 * LIFT**2 * 5e-7
    assert abs(2 * LIFT**2 * (1 - lifted[0] @ lifted[1]) - near) <= error
    if near + 2 * error < far:
        assert lifted[0] @ lifted[1] > lifted[0] @ lifted[2]


def test_a_vector_longer_than_the_sphere_is_refused():
    with pytest.raises(ValueError, match="too long"):
        on_sphere(np.full(128, LIFT, np.float32))


@pytest.mark.parametrize("flip", [True, False])
def test_our_own_system_is_the_one_that_serves(astronaut, flip):
    settings = Settings(execution_provider=ExecutionProvider.CPU, embedder_flip=flip)
    card, folder = find_card("embedder", settings.embedder)
    network = load_network(card.verified_bytes(folder), provider=ExecutionProvider.CPU, threads=1)
    detector = build_detector(settings)
    system = AlignedNetwork(detector, network, mean=card.input.mean, std=card.input.std, flip=flip)
    aligned = align(astronaut, center_face(detector.detect(astronaut), astronaut.shape).landmarks)
    served = build_embedder(settings).embed(aligned).vector
    assert float(system.embed(system.find(astronaut)) @ served) == pytest.approx(1, abs=1e-6)
    with pytest.raises(UnusableFace):
        system.find(np.zeros_like(astronaut))


def test_a_report_says_what_was_measured():
    report = measure(FakeRecognizer(), replace(PEER, notes=("a note",)), PAIRS, load)
    assert report.peer.notes == ("a note",)
