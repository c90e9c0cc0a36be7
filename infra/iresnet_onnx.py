"""Writes an IResNet as an ONNX graph, layer by layer, straight from its parameters; it needs no torch.

One ONNX operator stands for each layer of `biometrics/iresnet.py` and each initializer has the name of its parameter
in the state dict, so that the file can be read beside the weights that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from biometrics.types import FloatArray

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "face", "embedding"
SIZE = 112
EPSILON = 1e-5


def iresnet_onnx(parameters: Mapping[str, FloatArray]) -> bytes:
    """Return the network as an ONNX file: n x 3 x 112 x 112 -> n x embedding size, not yet of unit length.

    `parameters` is a complete IResNet state dict as float32 arrays; any depth and width.
    """
    graph = _Graph(parameters)
    value = graph.prelu("prelu", graph.norm("bn1", graph.conv("conv1", INPUT)))
    for stage in range(1, 5):
        units = {key.split(".")[1] for key in parameters if key.startswith(f"layer{stage}.")}
        for unit in range(len(units)):
            value = _residual_unit(graph, f"layer{stage}.{unit}", value, stride=2 if unit == 0 else 1)
    value = graph.add("Flatten", graph.norm("bn2", value), axis=1)
    value = graph.add("Gemm", value, graph.parameter("fc.weight"), graph.parameter("fc.bias"), transB=1)
    graph.norm("features", value, output=OUTPUT)
    embedding_size = int(parameters["fc.weight"].shape[0])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "iresnet",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", embedding_size])],
            graph.initializers,
        ),
        producer_name="dwarpal",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString(deterministic=True))


def _residual_unit(graph: _Graph, name: str, value: str, *, stride: int) -> str:
    """Append BN-Conv-BN-PReLU-Conv-BN beside its shortcut; return the sum's name."""
    y = graph.conv(f"{name}.conv1", graph.norm(f"{name}.bn1", value))
    y = graph.prelu(f"{name}.prelu", graph.norm(f"{name}.bn2", y))
    y = graph.norm(f"{name}.bn3", graph.conv(f"{name}.conv2", y, stride=stride))
    if graph.has(f"{name}.downsample.0.weight"):
        shortcut = graph.conv(f"{name}.downsample.0", value, stride=stride, padding=0)
        value = graph.norm(f"{name}.downsample.1", shortcut)
    return graph.add("Add", y, value)


class _Graph:
    """Collects nodes and initializers."""

    def __init__(self, parameters: Mapping[str, FloatArray]) -> None:
        self._parameters = parameters
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def has(self, name: str) -> bool:
        return name in self._parameters

    def parameter(self, name: str, *, per_channel: bool = False) -> str:
        """Make a parameter an initializer; `per_channel` shapes it to spread over height and width."""
        value = np.ascontiguousarray(self._parameters[name], np.float32)
        self.initializers.append(numpy_helper.from_array(value[:, None, None] if per_channel else value, name))
        return name

    def conv(self, name: str, value: str, *, stride: int = 1, padding: int = 1) -> str:
        weight = self.parameter(f"{name}.weight")
        return self.add("Conv", value, weight, pads=[padding] * 4, strides=[stride, stride])

    def norm(self, name: str, value: str, *, output: str = "") -> str:
        parts = [self.parameter(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", value, *parts, output=output, epsilon=EPSILON)

    def prelu(self, name: str, value: str) -> str:
        return self.add("PRelu", value, self.parameter(f"{name}.weight", per_channel=True))

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: int | float | list[int]) -> str:
        """Append one node; return the name of its output."""
        output = output or f"value{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return output
