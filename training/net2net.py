"""Starts a larger IResNet from a smaller one that has learned something, so that little training shows what size buys.

Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", 2016: the larger network first gives
the smaller one's numbers (up to the noise that lets copies part), then learns on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from biometrics.errors import ModelUnusable
from biometrics.iresnet import BLOCKS, EPSILON, FINAL_SIZE, IResNet, IResNetConfig

NOISE = 0.02
"""Of a tensor's own standard deviation, added to copied weights: equal copies would learn the same forever."""


def grown(small: dict[str, Tensor], config: IResNetConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the state dict of a wider or deeper IResNet that computes what the small one does.

    Further units at the end of a stage begin as the identity (their last normalization multiplies by zero). Raises
    `ModelUnusable` where the width is not a multiple or the depth is less.
    """
    have = IResNetConfig.from_state_dict(small)
    times, rest = divmod(config.width, have.width)
    if rest or not times or config.depth < have.depth or config.embedding_size != have.embedding_size:
        raise ModelUnusable(f"An {have.name} cannot grow into an {config.name}.")
    state = IResNet(config).state_dict()
    for key in state:
        if key in small:
            state[key] = _copied(key, small[key], times, generator)
        elif key.endswith("bn3.weight"):
            state[key].zero_()
    return state


def _copied(key: str, value: Tensor, times: int, generator: torch.Generator) -> Tensor:
    """Repeat the channels of one tensor; what reads `times` copies of a channel weighs each the less."""
    if times == 1 or value.ndim == 0 or key.startswith("features.") or key == "fc.bias":
        return value.clone()
    if value.ndim == 1:
        return value.repeat(times)
    if key == "fc.weight":
        by_channel = value.view(len(value), -1, FINAL_SIZE * FINAL_SIZE)
        value = by_channel.repeat(1, times, 1).reshape(len(value), -1) / times
    elif key == "conv1.weight":
        value = value.repeat(times, 1, 1, 1)  # reads the picture, whose channels stay
    else:
        value = value.repeat(times, times, 1, 1) / times
    return value + NOISE * value.std() * torch.randn(value.shape, generator=generator)


def small_network(path: Path) -> dict[str, Tensor]:
    """Return the state dict to grow from: a checkpoint's averaged network, or a folded IResNet-18 (`.onnx`)."""
    if path.suffix == ".onnx":
        return unfolded(path)
    average: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")["average"]
    return average


def unfolded(path: Path) -> dict[str, Tensor]:
    """Read an IResNet-18 back from an ONNX file whose convolutions have taken up the normalizations after them.

    The normalizations before convolutions are still there; those folded away come back as shifts. Raises
    `ModelUnusable` if the file holds something else.
    """
    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # float16 in the file, cast to float32 in the graph
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    layers = [
        (node.op_type, [torch.from_numpy(stored[name].astype(np.float32)) for name in node.input[1:] if name in stored])
        for node in graph.node
        if node.op_type in ("Conv", "PRelu", "BatchNormalization", "Gemm")
    ]
    state = IResNet(IResNetConfig(18, len(layers[0][1][0]))).state_dict()
    try:
        for name, (kind, values) in zip(_layers_of_18(), layers, strict=True):
            _put(state, name, kind, values)
    except (ValueError, IndexError, KeyError, RuntimeError) as problem:
        raise ModelUnusable("The file does not hold a folded IResNet-18.") from problem
    return state


def _layers_of_18() -> list[tuple[str, str]]:
    """Return (layer, the normalization that it took up) in the order of computation."""
    names = [("conv1", "bn1"), ("prelu", "")]
    for stage, units in enumerate(BLOCKS[18], start=1):
        for unit in range(units):
            at = f"layer{stage}.{unit}."
            names += [(at + "bn1", ""), (at + "conv1", at + "bn2"), (at + "prelu", ""), (at + "conv2", at + "bn3")]
            if unit == 0:
                names.append((at + "downsample.0", at + "downsample.1"))
    return [*names, ("bn2", ""), ("fc", ""), ("features", "")]


def _put(state: dict[str, Tensor], name: tuple[str, str], kind: str, values: list[Tensor]) -> None:
    layer, folded = name
    if kind == "BatchNormalization":
        for part, value in zip(("weight", "bias", "running_mean", "running_var"), values, strict=True):
            state[f"{layer}.{part}"].copy_(value)
        return
    state[f"{layer}.weight"].copy_(values[0].view_as(state[f"{layer}.weight"]))
    if layer == "fc":
        state["fc.bias"].copy_(values[1])
    if folded:
        state[f"{folded}.bias"].copy_(values[1])
        state[f"{folded}.running_var"].fill_(1 - EPSILON)  # weight 1 and mean 0 are a fresh network's
