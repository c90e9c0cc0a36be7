"""Small ONNX files as exporters write them, good ones and bad ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def small_network(
    *,
    inputs: Shape = ("batch", 3, 112, 112),
    outputs: Shape = ("batch", 512),
    size: int = 512,
    before: Sequence[NodeProto] = (),
    reshape: Sequence[int] | None = None,
    change: Callable[[ModelProto], None] = lambda model: None,
) -> bytes:
    """A network of one convolution and one matrix, which still tells pictures apart.

    `before` calculates on `input` and ends in `prepared`; `reshape` stands in place of Flatten.
    """
    random = np.random.default_rng(5)
    constants = {
        "conv.weight": random.normal(0, 0.1, (4, 3, 16, 16)).astype(np.float32),
        "fc.weight": random.normal(0, 0.1, (size, 4 * 7 * 7)).astype(np.float32),
        "one": np.array([1.0], np.float32),
    }
    if reshape is not None:
        constants["shape"] = np.array(reshape, np.int64)
    nodes = [
        *before,
        helper.make_node("Conv", ["prepared" if before else "input", "conv.weight"], ["c"], strides=[16, 16]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"])
        if reshape is None
        else helper.make_node("Reshape", ["r", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight"], ["output"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(model)
    return bytes(model.SerializeToString())


def parsed(content: bytes) -> ModelProto:
    return onnx.load_model_from_string(content)
