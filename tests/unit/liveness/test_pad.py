from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.card import InputSpec, ModelCard, OperatingPoint
from biometrics.errors import ModelUnusable
from biometrics.mtcnn import MtcnnDetector
from biometrics.types import Box, Face, Pixels
from evaluation.attacks import print_attack, replay_attack
from evaluation.camera import PRESETS, photograph
from infra.models import build_detector, build_pad
from infra.settings import ExecutionProvider, Settings
from liveness.pad import PadAssessment, PadNetwork, context_crop, crop_matrix, fused
from tests.fakes import FakeNetwork

CARD = ModelCard(
    name="test",
    task="pad",
    file="test.onnx",
    sha256="0" * 64,
    architecture="none",
    parameters=1,
    input=InputSpec(size=32, mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0), crop="face", context=1.5),
    output="score",
    licence="none",
    training={},
    evaluation={},
    operating_points=(OperatingPoint(rate=0.01, threshold=0.2), OperatingPoint(rate=0.05, threshold=0.6)),
    limits=(),
)


def face_at(x: float, y: float, side: float, *, degrees: float = 0.0) -> Face:
    """A square face whose eyes lie on a line of the given angle."""
    angle = np.radians(degrees)
    eye = np.array([np.cos(angle), np.sin(angle)]) * side / 4
    middle = np.array([x, y])
    points = np.array([middle - eye, middle + eye, middle, middle, middle], np.float32)
    return Face(Box(x - side / 2, y - side / 2, side, side), 0.99, points)


def network_saying(score: float) -> FakeNetwork:
    return FakeNetwork(lambda batch: [np.full((len(batch), 1), score, np.float32)])


@given(
    x=st.floats(-50, 300),
    y=st.floats(-50, 300),
    side=st.floats(5, 400),
    degrees=st.floats(-80, 80),
    size=st.integers(16, 128),
)
def test_the_crop_is_upright_centered_and_as_wide_as_told(
    x: float, y: float, side: float, degrees: float, size: int
) -> None:
    face = face_at(x, y, side, degrees=degrees)
    matrix = crop_matrix(face, side=1.5 * side, size=size)
    eyes = (matrix @ np.column_stack((face.landmarks[:2], np.ones(2))).T)[:2].T
    middle = (matrix @ (x, y, 1.0))[:2]
    assert np.allclose(middle, size / 2 - 0.5, atol=0.05)
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=0.05)
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(size / 3, rel=0.01)  # half the box, seen 1.5 times as wide


@given(
    x=st.floats(-100, 300),
    y=st.floats(-100, 300),
    side=st.floats(0, 1000),
    height=st.integers(1, 200),
    width=st.integers(1, 200),
)
def test_any_face_in_any_image_gives_a_crop(x: float, y: float, side: float, height: int, width: int) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    crop = context_crop(image, face_at(x, y, side), context=1.5, size=32)
    assert crop.shape == (32, 32, 3)
    assert crop.dtype == np.uint8
    assert (crop == 77).all()  # the border is mirrored, nothing is invented


@pytest.mark.parametrize("scale", [1, 4, 9])
def test_large_and_small_faces_give_the_same_crop(scale: int) -> None:
    y, x = np.mgrid[0 : 96 * scale, 0 : 96 * scale] / scale
    image = np.stack((x * 2, y * 2, 100 + 50 * np.sin(x / 9)), axis=-1).astype(np.uint8)
    small = np.stack((x * 2, y * 2, 100 + 50 * np.sin(x / 9)), axis=-1)[::scale, ::scale].astype(np.uint8)
    large_crop = context_crop(image, face_at(48 * scale, 48 * scale, 40 * scale), context=1.5, size=32)
    small_crop = context_crop(small, face_at(48, 48, 40), context=1.5, size=32)
    assert np.abs(large_crop.astype(int) - small_crop).max() <= 5


def test_a_fine_pattern_is_averaged_not_skipped() -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    image[:, ::2] = 255
    crop = context_crop(image, face_at(400, 400, 400), context=1.5, size=32)
    assert np.abs(crop.astype(int) - 127).max() < 30


def test_the_network_sees_normalized_pixels() -> None:
    seen = []

    def answer(batch: np.ndarray) -> list[np.ndarray]:
        seen.append(batch.copy())
        return [np.full((1, 1), 0.7, np.float32)]

    image = np.broadcast_to(np.array([150, 50, 190], np.uint8), (64, 64, 3))
    PadNetwork(FakeNetwork(answer), CARD).assess(np.ascontiguousarray(image), face_at(32, 32, 20))
    assert seen[0].shape == (1, 3, 32, 32)
    assert np.allclose(seen[0][0].mean(axis=(1, 2)), (1.0, -1.0, 1.0))


@pytest.mark.parametrize(("score", "bpcer", "passes"), [(0.6, 0.05, True), (0.599, 0.05, False), (0.3, 0.01, True)])
def test_the_operating_point_decides(score: float, bpcer: float, passes: bool) -> None:
    pad = PadNetwork(network_saying(score), CARD, bpcer=bpcer)
    verdict = pad.assess(np.zeros((64, 64, 3), np.uint8), face_at(32, 32, 20))
    assert verdict.bona_fide is passes
    assert bool(verdict) is passes
    assert pad.model_digest == "0" * 64


def test_a_burst_is_judged_by_the_mean_of_its_logits_at_its_own_operating_point() -> None:
    image, face = np.zeros((64, 64, 3), np.uint8), face_at(32, 32, 20)

    def judged(*scores: float) -> tuple[bool, list[bool]]:
        left = list(scores)
        network = FakeNetwork(lambda batch: [np.array([[left.pop(0)]], np.float32)])
        verdict = PadNetwork(network, CARD, bpcer=0.05, burst_bpcer=0.01).assess_burst(
            [image] * len(scores), [face] * len(scores)
        )
        return verdict.bona_fide, [frame.bona_fide for frame in verdict.frames]

    assert judged(0.3, 0.3, 0.3) == (True, [True] * 3)
    assert judged(0.9, 0.1, 0.1) == (True, [True, False, False])
    assert judged(0.9, 0.01, 0.01) == (False, [True, False, False])
    with pytest.raises(ModelUnusable):
        judged(0.9, np.nan, 0.9)
    with pytest.raises(ModelUnusable):
        PadNetwork(network_saying(0.5), CARD, bpcer=0.05, burst_bpcer=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_fused_scores_lie_between_the_least_and_the_most(scores: list[float]) -> None:
    assert min(scores) - 2e-6 <= fused(scores) <= max(scores) + 2e-6


@pytest.mark.parametrize("score", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_keeps_the_gate_shut(score: float) -> None:
    pad = PadNetwork(network_saying(score), CARD)
    with pytest.raises(ModelUnusable):
        pad.assess(np.zeros((64, 64, 3), np.uint8), face_at(32, 32, 20))


def test_a_card_must_fit() -> None:
    with pytest.raises(ModelUnusable):
        PadNetwork(network_saying(0.5), CARD, bpcer=0.02)
    with pytest.raises(ModelUnusable):
        PadNetwork(network_saying(0.5), CARD.model_copy(update={"task": "embedder"}))


def test_the_score_is_not_printed() -> None:
    assert "0.123" not in repr(PadAssessment(True, 0.123))


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return build_detector(Settings())


@pytest.fixture(scope="module")
def pad() -> PadNetwork:
    return build_pad(Settings(execution_provider=ExecutionProvider.CPU))


def passes(pad: PadNetwork, detector: MtcnnDetector, picture: Pixels) -> bool:
    faces = detector.detect(picture)
    return bool(pad.assess(picture, max(faces, key=lambda face: face.box.area)))


@pytest.mark.parametrize("who", ["astronaut", "grace_hopper"])
@pytest.mark.parametrize("gate", PRESETS)
def test_people_it_has_never_met_pass_every_gate_camera(
    pad: PadNetwork, detector: MtcnnDetector, request: pytest.FixtureRequest, who: str, gate: str
) -> None:
    portrait: Pixels = request.getfixturevalue(who)
    assert passes(pad, detector, photograph(portrait, PRESETS[gate], np.random.default_rng(1)))


@pytest.mark.parametrize("who", ["astronaut", "grace_hopper"])
@pytest.mark.parametrize("attack", [print_attack, replay_attack])
def test_simulated_attacks_with_people_it_has_never_met_are_mostly_refused(
    pad: PadNetwork, detector: MtcnnDetector, request: pytest.FixtureRequest, who: str, attack: type
) -> None:
    portrait: Pixels = request.getfixturevalue(who)
    rng = np.random.default_rng(2)
    refused = [not passes(pad, detector, photograph(attack(portrait, rng), PRESETS["entry"], rng)) for _ in range(10)]
    assert sum(refused) >= 8
