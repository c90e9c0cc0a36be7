from __future__ import annotations

import numpy as np
import pytest

from biometrics.alignment import align
from biometrics.card import ModelCard
from biometrics.comparison import cosine
from biometrics.embedding import ArcFaceEmbedder
from biometrics.errors import ModelUnusable
from biometrics.mtcnn import MtcnnDetector
from biometrics.types import FloatArray, Pixels
from infra.models import build_embedder, find_card
from infra.settings import ExecutionProvider, Settings
from tests.fakes import FakeNetwork


@pytest.fixture(scope="module")
def faces(detector: MtcnnDetector, astronaut: Pixels, hopper: Pixels) -> list[Pixels]:
    return [align(image, detector.detect(image)[0].landmarks) for image in (astronaut, hopper)]


def first_pixels(batch: FloatArray) -> list[FloatArray]:
    """A network whose output is the first 512 numbers of the input, not scaled."""
    return [batch.reshape(len(batch), -1)[:, :512].copy()]


def fake_embedder(network: FakeNetwork, *, flip: bool) -> ArcFaceEmbedder:
    card, _ = find_card("embedder", "mobilefacenet512")
    return ArcFaceEmbedder(network, card, flip=flip)


def test_two_people_are_far_apart_and_a_person_is_close_to_the_own_mirror_image(
    embedder: ArcFaceEmbedder, faces: list[Pixels]
) -> None:
    first, second = (embedder.embed(face) for face in faces)
    mirrored = embedder.embed(np.ascontiguousarray(faces[0][:, ::-1]))
    assert cosine(first, second) < 0.2
    assert cosine(first, mirrored) == pytest.approx(1, abs=1e-4)  # flip averaging: the same two views
    assert first.vector.dtype == np.float32
    assert np.linalg.norm(first.vector) == pytest.approx(1, abs=1e-5)


def test_batches_give_the_same_as_single_faces(embedder: ArcFaceEmbedder, faces: list[Pixels]) -> None:
    many = embedder.embed_many([faces[i % 2] for i in range(35)])
    assert many.shape == (35, 512)
    for i in (0, 1, 34):
        assert many[i] @ embedder.embed(faces[i % 2]).vector == pytest.approx(1, abs=1e-5)
    assert embedder.embed_many([]).shape == (0, 512)


def test_the_fast_provider_agrees_with_plain_cpu(embedder: ArcFaceEmbedder, faces: list[Pixels]) -> None:
    fast = build_embedder(Settings(execution_provider=ExecutionProvider.AUTO))
    for face in faces:
        assert cosine(fast.embed(face), embedder.embed(face)) > 0.999


def test_input_is_scaled_as_the_card_says_and_mirrored_after_the_plain_faces() -> None:
    network = FakeNetwork(first_pixels)
    face = np.zeros((112, 112, 3), np.uint8)
    face[..., 0] = np.arange(112) * 2
    spec = find_card("embedder", "mobilefacenet512")[0].input
    row = np.tile((np.arange(112) * 2 - spec.mean[0]) / spec.std[0], 5)[:512].astype(np.float32)
    plain = fake_embedder(network, flip=False).embed(face)
    np.testing.assert_allclose(plain.vector, row / np.linalg.norm(row), atol=1e-6)
    fake_embedder(network, flip=True).embed_many([face, face, face])
    assert network.shapes == [(1, 3, 112, 112), (6, 3, 112, 112)]


def test_the_digest_is_that_of_the_network_with_or_without_flip() -> None:
    network = FakeNetwork(first_pixels)
    assert fake_embedder(network, flip=True).model_digest == fake_embedder(network, flip=False).model_digest


@pytest.mark.parametrize(
    "output", [np.zeros((1, 512)), np.full((1, 512), np.nan), np.ones((1, 128)), np.ones((2, 512))]
)
def test_a_network_that_returns_nonsense_is_unusable(output: FloatArray) -> None:
    network = FakeNetwork(lambda _: [output.astype(np.float32)])
    with pytest.raises(ModelUnusable):
        fake_embedder(network, flip=False).embed(np.zeros((112, 112, 3), np.uint8))


def test_wrong_sizes_and_wrong_cards_are_refused() -> None:
    with pytest.raises(ValueError, match="112 x 112 x 3"):
        fake_embedder(FakeNetwork(first_pixels), flip=False).embed(np.zeros((100, 112, 3), np.uint8))
    card, _ = find_card("embedder", "mobilefacenet512")
    pad_card = ModelCard.model_validate(card.model_dump() | {"task": "pad"})
    with pytest.raises(ModelUnusable):
        ArcFaceEmbedder(FakeNetwork(first_pixels), pad_card, flip=False)
