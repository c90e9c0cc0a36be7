"""A larger network starts where the smaller one stopped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from biometrics.errors import ModelUnusable
from biometrics.iresnet import IResNet, IResNetConfig
from infra.iresnet_onnx import iresnet_onnx
from training.net2net import grown, small_network
from training.train_embedder import TrainingConfig

PILOT = Path(__file__).resolve().parents[4] / "shared" / "data" / "weights" / "iresnet18w32-pilot.onnx"
FACES = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(2)) * 2 - 1


def used_network(config: IResNetConfig) -> IResNet:
    """Return a network whose normalizations are not a fresh one's, so that a mix-up would show."""
    torch.manual_seed(5)
    network = IResNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return network.eval()


@torch.no_grad()
def agreement(one: nn.Module, other: nn.Module) -> float:
    """Return the smallest cosine between what two networks say of the same faces."""
    return float(nn.functional.cosine_similarity(one(FACES), other(FACES)).min())


@pytest.mark.parametrize(
    ("depth", "width", "least"), [(18, 4, 0.999999), (34, 4, 0.999999), (18, 12, 0.99), (34, 8, 0.99)]
)
def test_a_grown_network_gives_the_small_ones_embeddings(depth: int, width: int, least: float) -> None:
    small, config = used_network(IResNetConfig(18, 4)), IResNetConfig(depth, width)
    large = IResNet(config)
    large.load_state_dict(grown(small.state_dict(), config, torch.Generator().manual_seed(1)))
    assert agreement(small, large.eval()) >= least


def test_copies_of_a_channel_differ_so_that_they_can_part() -> None:
    state = grown(used_network(IResNetConfig(18, 4)).state_dict(), IResNetConfig(18, 8), torch.Generator())
    weight = state["layer1.0.conv1.weight"]
    assert not torch.equal(weight[:4], weight[4:])


@pytest.mark.parametrize("config", [IResNetConfig(18, 6), IResNetConfig(18, 2), IResNetConfig(18, 4, 128)])
def test_what_is_no_larger_network_of_its_kind_is_refused(config: IResNetConfig) -> None:
    with pytest.raises(ModelUnusable):
        grown(used_network(IResNetConfig(18, 4)).state_dict(), config, torch.Generator())


def checkpoint_of(network: IResNet, folder: Path) -> Path:
    config = TrainingConfig(depth=18, width=network.config.width)
    state = {"average": network.state_dict(), "step": 1, "config": asdict(config)}
    torch.save(state, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def test_the_small_network_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    network = used_network(IResNetConfig(18, 4))
    again = IResNet(network.config)
    again.load_state_dict(small_network(checkpoint_of(network, tmp_path)))
    assert agreement(network, again.eval()) >= 0.999999


def test_the_small_network_is_read_from_a_folded_file() -> None:
    if not PILOT.exists():
        pytest.skip("the research data is not here: shared/data/weights")
    again = IResNet(IResNetConfig(18, 32))
    again.load_state_dict(small_network(PILOT))
    runtime = onnxruntime.InferenceSession(PILOT, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(runtime.run(None, {"face": FACES.numpy()})[0])
    with torch.no_grad():
        assert nn.functional.cosine_similarity(again.eval()(FACES), theirs).min() >= 0.9999  # float16 in the file


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    parameters = {name: value.numpy() for name, value in used_network(IResNetConfig(34, 4)).state_dict().items()}
    file.write_bytes(iresnet_onnx(parameters))
    with pytest.raises(ModelUnusable):
        small_network(file)
