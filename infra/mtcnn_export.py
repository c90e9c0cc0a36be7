"""Turns facenet-pytorch's MTCNN weights into three ONNX files: the one step that imports torch.

    python -m infra.mtcnn_export CACHE_DIR

The package itself is never imported (its torchvision may not fit the torch beside it); only its data files
are read. `mtcnn_cache.py` starts this as a process of its own, so that the serving process never loads torch.

Architecture: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", 2016, as facenet-pytorch 2.5 lays it out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from biometrics.types import FloatArray
from infra.mtcnn_cache import NETWORKS, cache_key, store, weight_files

Layer = tuple[str, str | int]
"""An operator and its argument: a parameter's name, or the window of a pooling with stride 2."""

TRUNKS: dict[str, tuple[Layer, ...]] = {
    "pnet": (
        ("conv", "conv1"), ("prelu", "prelu1"), ("pool", 2),
        ("conv", "conv2"), ("prelu", "prelu2"),
        ("conv", "conv3"), ("prelu", "prelu3"),
    ),
    "rnet": (
        ("conv", "conv1"), ("prelu", "prelu1"), ("pool", 3),
        ("conv", "conv2"), ("prelu", "prelu2"), ("pool", 3),
        ("conv", "conv3"), ("prelu", "prelu3"),
        ("flatten", "dense4"), ("prelu", "prelu4"),
    ),
    "onet": (
        ("conv", "conv1"), ("prelu", "prelu1"), ("pool", 3),
        ("conv", "conv2"), ("prelu", "prelu2"), ("pool", 3),
        ("conv", "conv3"), ("prelu", "prelu3"), ("pool", 2),
        ("conv", "conv4"), ("prelu", "prelu4"),
        ("flatten", "dense5"), ("prelu", "prelu5"),
    ),
}  # fmt: skip

HEADS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "pnet": (("box", "conv", "conv4_2"), ("probability", "conv", "conv4_1")),
    "rnet": (("box", "dense", "dense5_2"), ("probability", "dense", "dense5_1")),
    "onet": (
        ("box", "dense", "dense6_2"),
        ("landmarks", "dense", "dense6_3"),
        ("probability", "dense", "dense6_1"),
    ),
}
"""The outputs of each network, in order: name, operator, parameter."""

INPUT_SIZES: dict[str, tuple[int | str, int | str]] = {
    "pnet": ("height", "width"),
    "rnet": (24, 24),
    "onet": (48, 48),
}


def export(cache_dir: Path) -> None:
    """Convert the weights into the cache; raise `ModelUnusable` if they are missing."""
    files = weight_files()
    store(cache_dir, cache_key(files), {name: build_onnx(name, read_weights(files[name])) for name in NETWORKS})


def read_weights(path: Path) -> dict[str, FloatArray]:
    """Read a PyTorch state dict as arrays, running no code from the file."""
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy().astype(np.float32) for name, tensor in state.items()}


def build_onnx(name: str, weights: Mapping[str, FloatArray]) -> bytes:
    """Return one of the three networks as an ONNX file: input n x 3 x H x W, outputs as in `HEADS`."""
    builder = _GraphBuilder(weights)
    value = "image"
    for operator, argument in TRUNKS[name]:
        value = builder.add(operator, argument, value)
    for output, operator, parameter in HEADS[name]:
        head = builder.add(operator, parameter, value)
        if output == "probability":
            builder.node("Softmax", head, output=output, axis=1)
        else:
            builder.node("Identity", head, output=output)
    graph = helper.make_graph(
        builder.nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, *INPUT_SIZES[name]])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, _output_shape(name, output))
            for output, _, _ in HEADS[name]
        ],
        builder.constants,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, producer_name="dwarpal", opset_imports=[opset], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _output_shape(name: str, output: str) -> list[int | str]:
    """Return the declared shape of an output: P-Net's are maps, the others' are rows."""
    columns = {"box": 4, "probability": 2, "landmarks": 10}[output]
    return ["n", columns, "rows", "columns"] if name == "pnet" else ["n", columns]


class _GraphBuilder:
    """Collects the nodes and constants of one network."""

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        self._weights = weights
        self._flat = False
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, argument: str | int, value: str) -> str:
        """Append one layer of `TRUNKS` or `HEADS` to `value`; return the name of its result."""
        if operator == "pool":
            window = [argument, argument]
            return self.node("MaxPool", value, kernel_shape=window, strides=[2, 2], ceil_mode=1)
        weight = self._weights[f"{argument}.weight"]
        if operator == "prelu":
            # One slope a channel, shaped to spread over height and width while there are any.
            return self.node("PRelu", value, self._constant(weight if self._flat else weight[:, None, None]))
        bias = self._weights[f"{argument}.bias"]
        if operator == "conv":
            return self.node("Conv", value, self._constant(weight), self._constant(bias))
        if operator == "flatten":
            self._flat = True
            value = self.node("Flatten", value)
            weight = _channels_first(weight)
        return self.node("Gemm", value, self._constant(weight), self._constant(bias), transB=1)

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: int | list[str | int]) -> str:
        """Append one node; return the name of its output."""
        output = output or f"value{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return output

    def _constant(self, value: FloatArray) -> str:
        name = f"weight{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _channels_first(weight: FloatArray) -> FloatArray:
    """Reorder a layer's inputs from facenet-pytorch's width x height x channels to ONNX's C x H x W.

    The trunk ends in 3 x 3 positions in both R-Net and O-Net.
    """
    outputs, inputs = weight.shape
    return weight.reshape(outputs, 3, 3, inputs // 9).transpose(0, 3, 2, 1).reshape(outputs, inputs)


if __name__ == "__main__":
    export(Path(sys.argv[1]))
