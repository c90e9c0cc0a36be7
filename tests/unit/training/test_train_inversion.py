"""The decoder learns, goes on exactly where it stopped, and is exported as it is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from biometrics.embedding import unit_rows
from biometrics.types import FloatArray
from training.inversion_data import InversionData, embedded, load_embedder
from training.inversion_decoder import SIDE, AlignedDecoder, Decoder, onnx_bytes
from training.mobilefacenet import MobileFaceNet
from training.train_inversion import InversionConfig, train

TINY = InversionConfig(steps=4, batch=8, embedded=4, warmup=1, every=2)


@pytest.fixture(scope="module")
def data() -> InversionData:
    """Twelve faces of nobody: a decoder needs no more to begin to learn."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (12, SIDE, SIDE, 3)).astype(np.uint8)
    embeddings = unit_rows(rng.standard_normal((12, 512)).astype(np.float32))
    return InversionData(pixels, embeddings, np.arange(12) >= 8)


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run / "checkpoint.pt", weights_only=True)["decoder"]
    return found


def test_a_run_goes_on_exactly_where_it_stopped(data: InversionData, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train(data, TINY, tmp_path / "whole")
    train(data, TINY, tmp_path / "parts", stop=2)
    train(data, TINY, tmp_path / "parts", resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with (tmp_path / "parts" / "log.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["step"] for line in lines] == ["2", "4"]
    assert float(lines[1]["pixel"]) < float(lines[0]["pixel"])


def test_a_thief_of_rotated_templates_keeps_the_rotation(data: InversionData, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train(data, TINY, tmp_path, rotated=True, stop=2)
    rotation: FloatArray = np.load(tmp_path / "rotation.npy")
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(512), atol=1e-5)
    train(data, TINY, tmp_path, rotated=True, resume=True)
    np.testing.assert_array_equal(np.load(tmp_path / "rotation.npy"), rotation)


def test_the_exported_decoder_is_the_one_in_torch(data: InversionData) -> None:
    torch.manual_seed(0)
    decoder = Decoder().eval()
    batch = data.embeddings[:3]
    (found,) = ReferenceEvaluator(onnx.load_from_string(onnx_bytes(decoder))).run(None, {"embedding": batch})
    with torch.inference_mode():
        expected = AlignedDecoder(decoder)(torch.from_numpy(batch)).numpy()
    assert found.shape == (3, 3, 112, 112)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert 2_000_000 < sum(parameter.numel() for parameter in decoder.parameters()) < 3_000_000


def test_the_copy_of_the_embedder_is_the_shipped_one() -> None:
    network = load_embedder()
    assert isinstance(network, MobileFaceNet)
    batch = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    model = onnx.load("biometrics/weights/mobilefacenet512.onnx")
    (expected,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: batch.numpy()})
    with torch.inference_mode():
        found = torch.nn.functional.normalize(network(batch)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    faces = np.zeros((3, 112, 112, 3), np.uint8)
    np.testing.assert_allclose(np.linalg.norm(embedded(network, faces, label="faces"), axis=1), 1, rtol=1e-5)
