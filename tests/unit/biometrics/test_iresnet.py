"""Our IResNet against one written out by hand from the same state dict, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as nn

from biometrics.errors import ModelUnusable
from biometrics.iresnet import BLOCKS, IResNet, IResNetConfig
from tests.iresnets import random_iresnet

UNITS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 14, 3], 100: [3, 13, 30, 3]}
INSIGHTFACE_PARAMETERS = {18: 24_025_600, 34: 34_139_328, 50: 43_590_848, 100: 65_156_160}


def reference(state: Mapping[str, Tensor], units: list[int], x: Tensor) -> Tensor:
    """InsightFace's forward pass in plain functions; nothing of ours."""

    def norm(name: str, value: Tensor) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return nn.batch_norm(
            value, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], training=False, eps=1e-5
        )

    x = nn.conv2d(x, state["conv1.weight"], stride=1, padding=1)
    x = nn.prelu(norm("bn1", x), state["prelu.weight"])
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            at = f"layer{stage}.{unit}"
            stride = 2 if unit == 0 else 1
            y = norm(f"{at}.bn1", x)
            y = nn.conv2d(y, state[f"{at}.conv1.weight"], stride=1, padding=1)
            y = nn.prelu(norm(f"{at}.bn2", y), state[f"{at}.prelu.weight"])
            y = nn.conv2d(y, state[f"{at}.conv2.weight"], stride=stride, padding=1)
            y = norm(f"{at}.bn3", y)
            if unit == 0:
                x = norm(f"{at}.downsample.1", nn.conv2d(x, state[f"{at}.downsample.0.weight"], stride=2))
            y += x
            x = y
    x = torch.flatten(norm("bn2", x), 1)
    x = nn.linear(x, state["fc.weight"], state["fc.bias"])
    return norm("features", x)


@pytest.mark.parametrize("depth", UNITS)
def test_forward_is_bit_for_bit_the_reference(depth: int) -> None:
    network = random_iresnet(depth)
    x = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(7)) * 2 - 1
    with torch.inference_mode():
        ours, theirs = network(x), reference(network.state_dict(), UNITS[depth], x)
    assert ours.shape == (2, 512)
    assert torch.isfinite(ours).all()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("depth", INSIGHTFACE_PARAMETERS)
def test_size_is_that_of_the_original(depth: int) -> None:
    with torch.device("meta"):
        network = IResNet(IResNetConfig(depth))
    assert sum(parameter.numel() for parameter in network.parameters()) == INSIGHTFACE_PARAMETERS[depth]
    assert not network.features.weight.requires_grad


def test_keys_are_those_of_the_original() -> None:
    with torch.device("meta"):
        keys = list(IResNet(IResNetConfig(18)).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = ["conv1.weight", *(f"bn1.{part}" for part in norm), "prelu.weight"]
    for stage in range(1, 5):
        for unit in range(2):
            at = f"layer{stage}.{unit}"
            expected += [*(f"{at}.bn1.{part}" for part in norm), f"{at}.conv1.weight"]
            expected += [*(f"{at}.bn2.{part}" for part in norm), f"{at}.prelu.weight", f"{at}.conv2.weight"]
            expected += [f"{at}.bn3.{part}" for part in norm]
            if unit == 0:
                expected += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{part}" for part in norm)]
    expected += [*(f"bn2.{part}" for part in norm), "fc.weight", "fc.bias", *(f"features.{part}" for part in norm)]
    assert keys == expected


@pytest.mark.parametrize("depth", BLOCKS)
@pytest.mark.parametrize("width", [8, 32, 64])
def test_depth_and_width_are_read_from_a_state_dict(depth: int, width: int) -> None:
    config = IResNetConfig(depth, width, embedding_size=128)
    with torch.device("meta"):
        state = IResNet(config).state_dict()
    assert IResNetConfig.from_state_dict(state) == config
    assert config.name == f"iresnet{depth}" + ("" if width == 64 else f"w{width}")


@pytest.mark.parametrize("lost", ["conv1.weight", "fc.weight", "layer3."])
def test_another_networks_state_dict_is_refused(lost: str) -> None:
    with torch.device("meta"):
        state = IResNet(IResNetConfig(18, 8)).state_dict()
    with pytest.raises(ModelUnusable):
        IResNetConfig.from_state_dict({key: value for key, value in state.items() if not key.startswith(lost)})


@pytest.mark.parametrize("wrong", [{"depth": 20}, {"width": 0}, {"embedding_size": 0}, {"dropout": 1.0}])
def test_impossible_networks_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelUnusable):
        IResNetConfig(**wrong)


def test_dropout_works_in_training_only() -> None:
    network = IResNet(IResNetConfig(18, 8, dropout=0.5))
    x = torch.rand(4, 3, 112, 112)
    network.train()
    assert not torch.equal(network(x), network(x))
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(x), network(x))
