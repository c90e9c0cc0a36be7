from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from training.export_pad import onnx_bytes
from training.pad_data import PadViews
from training.pad_network import CROP, VIEW, PadFeatures, PadHead, PadMobileNet, evened, scores_of, views
from training.train_pad import TrainingConfig, fit


@pytest.fixture(scope="module")
def network() -> PadMobileNet:
    torch.manual_seed(0)
    network = PadMobileNet(PadFeatures(), PadHead(members=2, hidden=8)).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # weights at random would let all signals die out
            layer.weight.data.mul_(2)
    return network


def test_the_near_view_is_the_middle_and_the_wide_one_the_whole() -> None:
    x = torch.arange(CROP, dtype=torch.float32).expand(1, 3, CROP, CROP)
    near, wide = views(x)
    assert near.shape == (1, 3, VIEW, VIEW)
    assert wide.shape == (1, 3, VIEW, VIEW)
    assert near.mean().item() == pytest.approx((CROP - 1) / 2)
    assert wide[0, 0, 0, :3].tolist() == pytest.approx([1.0, 4.0, 7.0])


def test_evened_light_is_the_same_whatever_the_lamp() -> None:
    x = torch.rand(2, 3, VIEW, VIEW, generator=torch.Generator().manual_seed(1)) - 0.5
    brighter, tinted = x * 0.7 + 0.9, x + torch.tensor([0.2, 0.0, -0.2])[:, None, None]
    assert torch.allclose(evened(brighter), evened(x), atol=0.06)
    assert torch.allclose(evened(tinted).mean((2, 3)), torch.full((2, 3), -0.05), atol=1e-3)


def test_the_exported_network_scores_as_torch_does(network: PadMobileNet) -> None:
    session = ort.InferenceSession(onnx_bytes(network), providers=["CPUExecutionProvider"])
    batch = torch.rand(3, 3, CROP, CROP, generator=torch.Generator().manual_seed(2)) * 255
    (scores,) = session.run(None, {"face": batch.numpy()})
    with torch.inference_mode():
        expected = torch.sigmoid(network((batch - 127) / 128)).numpy()
    assert scores.shape == (3, 1)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_head_learns_what_tells_the_classes_apart_and_no_scale_matters() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(5.0, 3.0, (600, 6)).astype(np.float32)
    features[:, 1] *= 1000
    alive = features[:, 0] > 5.0
    names = {"part": "train", "domain": "nuaa", "subject": "", "species": "", "number": 0}
    labels = {name: np.full(600, value) for name, value in names.items()}
    labels["species"] = np.where(alive, "bona_fide", "print")
    views_ = PadViews(features, **labels)
    head = fit(views_, TrainingConfig(members=2, hidden=8, steps=150, threads=1))
    scores = scores_of(head, features)
    assert scores.shape == (600,)
    assert ((scores >= 0.5) == alive).mean() > 0.9
    again = scores_of(fit(views_, TrainingConfig(members=2, hidden=8, steps=150, threads=1)), features)
    np.testing.assert_array_equal(again, scores)
