"""Reviews an ONNX file that somebody brought before anything runs it, and makes it fit: any batch, RGB in.

What is refused is refused with the reason: files with parts elsewhere, operators of other vendors, control flow, wrong
shapes or types. What is changed: a fixed batch of one is opened to any number, channels are swapped for a network that
wants BGR, and the declared input goes into the file's metadata, so that its SHA-256 stands for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper
from onnx.shape_inference import InferenceError

from biometrics.errors import ModelUnusable
from biometrics.types import EMBEDDING_SIZE

MAX_NETWORK_BYTES = 1 << 30
"""IResNet-100 is a quarter of this; protobuf ends at twice as much."""

MIN_OPSET = 7
"""The oldest that ONNX Runtime promises to run."""

MIN_IR_VERSION = 3
INPUT_SIZE = 112
OWN_DOMAINS = frozenset({"", "ai.onnx"})
ARITHMETIC = frozenset({"Sub", "Add", "Mul", "Div"})
PASSING_ON = frozenset({"Identity", "Cast", "Gather"})
METADATA_KEY = "dwarpal.input"


@dataclass(frozen=True, slots=True)
class InputDeclaration:
    """What the network wants: (x - mean) / std on 0-255, mean and std in R, G, B; and its channels' order.

    `explicit` says that a person stated the numbers: then a graph that calculates on its input is no contradiction.
    """

    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    bgr: bool = False
    explicit: bool = False

    def __post_init__(self) -> None:
        if not all(np.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ModelUnusable("An input's mean and standard deviation are finite numbers, the latter above 0.")


@dataclass(frozen=True, slots=True)
class ReviewedNetwork:
    """An ONNX file that may be tried: its bytes, and what a card says about it."""

    content: bytes
    parameters: int
    opset: int
    operators: int
    batch_opened: bool


def review_onnx(content: bytes, declared: InputDeclaration) -> ReviewedNetwork:
    """Check an ONNX file and make it fit; nothing of it is run. Raises `ModelUnusable` with the reason.

    1. size and format; 2. nothing outside the file; 3. opset and operators; 4. one input, one output, their shapes;
    5. the input's range; 6. open the batch, swap channels, note the input; 7. ONNX's own checker with its shapes.
    """
    # 1. size and format
    model = _parse(content)
    graph = model.graph
    # 2. nothing outside the file
    if any(_is_external(tensor) for tensor in _tensors(graph)):
        raise ModelUnusable("The network keeps its weights in another file: save it as one ONNX file.")
    # 3. opset and operators
    opset = _check_opset(model)
    _check_operators(model)
    _run_checker(model, full=False)
    # 4. one input, one output
    source, target = _check_interface(graph)
    # 5. the input's range
    _check_range(graph, source.name, declared)
    # 6. make it fit
    opened = _open_batch(model, source, target)
    if declared.bgr:
        _swap_channels(graph, source.name)
    _note_input(model, declared)
    # 7. ONNX's own checker
    _run_checker(model, full=True)
    return ReviewedNetwork(_serialize(model), _count_parameters(graph), opset, len(graph.node), opened)


def _parse(content: bytes) -> ModelProto:
    if len(content) > MAX_NETWORK_BYTES:
        raise ModelUnusable(f"The network is larger than {MAX_NETWORK_BYTES >> 20} MiB.")
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelUnusable("The file is neither an ONNX network nor a PyTorch state dict.") from error
    if not model.graph.node:
        raise ModelUnusable("The file is no ONNX network: it has no operators.")
    if not MIN_IR_VERSION <= model.ir_version <= onnx.IR_VERSION:
        raise ModelUnusable(
            f"The network's ONNX format version is {model.ir_version}; {MIN_IR_VERSION} to {onnx.IR_VERSION} are read."
        )
    return model


def _serialize(model: ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise ModelUnusable("The network cannot be written as one ONNX file.") from error


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every constant of a graph: initializers, dense and sparse, and those in attributes; subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def _check_opset(model: ModelProto) -> int:
    """Return the version of ONNX's own operators."""
    versions = [entry.version for entry in model.opset_import if entry.domain in OWN_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= newest:
        raise ModelUnusable(f"The network needs exactly one ONNX operator set, {MIN_OPSET} to {newest}.")
    return int(versions[0])


def _check_operators(model: ModelProto) -> None:
    """Refuse operators that ONNX does not define, and those that hold graphs: a face network needs neither."""
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in OWN_DOMAINS})
    if foreign or model.functions:
        named = ", ".join(foreign[:3]) or "functions of its own"
        raise ModelUnusable(f"The network uses operators that are not ONNX's own: {named}.")
    kinds = onnx.AttributeProto
    looping = {
        node.op_type
        for node in model.graph.node
        if any(attribute.type in (kinds.GRAPH, kinds.GRAPHS) for attribute in node.attribute)
    }
    if looping:
        raise ModelUnusable(f"The network has control flow ({', '.join(sorted(looping))}), which is not run.")


def _run_checker(model: ModelProto, *, full: bool) -> None:
    try:
        checker.check_model(model, full_check=full)
    except (checker.ValidationError, InferenceError, ValueError, RuntimeError) as error:
        raise ModelUnusable("The network is not valid ONNX: its operators and shapes do not fit together.") from error


def _check_interface(graph: GraphProto) -> tuple[ValueInfoProto, ValueInfoProto]:
    """Return the input n x 3 x 112 x 112 and the output n x 512."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelUnusable(
            f"The network has {len(inputs)} inputs and {len(graph.output)} outputs; a face network has one of each."
        )
    source, target = inputs[0], graph.output[0]
    if any(value.type.tensor_type.elem_type != TensorProto.FLOAT for value in (source, target)):
        raise ModelUnusable("The network's input and output must be float32.")
    shape = _shape(source)
    if len(shape) != 4 or not _fits(shape[1:], (3, INPUT_SIZE, INPUT_SIZE)) or not _fits(shape[:1], (1,)):
        raise ModelUnusable(f"The network's input is {_words(shape)}; it must be n x 3 x {INPUT_SIZE} x {INPUT_SIZE}.")
    shape = _shape(target)
    if shape and (len(shape) != 2 or not _fits(shape[1:], (EMBEDDING_SIZE,))):
        raise ModelUnusable(
            f"The network's output is {_words(shape)}; it must be n x {EMBEDDING_SIZE}, the size of all templates."
        )
    return source, target


def _shape(value: ValueInfoProto) -> list[int | None]:
    """Return the declared sizes, None where any will do."""
    return [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]


def _fits(declared: Iterable[int | None], wanted: Iterable[int]) -> bool:
    # Some exporters write -1 or 0 for "any".
    return all(size is None or size <= 0 or size == want for size, want in zip(declared, wanted, strict=True))


def _words(shape: list[int | None]) -> str:
    return " x ".join("n" if size is None or size <= 0 else str(size) for size in shape) or "of no known shape"


def _check_range(graph: GraphProto, source: str, declared: InputDeclaration) -> None:
    """Refuse to normalize twice: a graph that calculates on its input before the first layer wants plain pixels."""
    arithmetic = _first_arithmetic(graph, source)
    if arithmetic and not declared.explicit:
        raise ModelUnusable(
            f"The network normalizes its input itself ({', '.join(arithmetic)} before the first layer): "
            "state what it wants, for plain pixels --mean 0 --std 1."
        )


def _first_arithmetic(graph: GraphProto, source: str) -> list[str]:
    """Return the operators of arithmetic between the input and the first layer."""
    found: list[str] = []
    names = {source}
    for node in graph.node:
        if names.isdisjoint(node.input):
            continue
        if node.op_type in ARITHMETIC:
            found.append(node.op_type)
        elif node.op_type not in PASSING_ON:
            break
        names = set(node.output)
    return found


def _open_batch(model: ModelProto, source: ValueInfoProto, target: ValueInfoProto) -> bool:
    """Declare any batch; a network exported for one face loses its fixed ones. Say whether it was fixed."""
    graph = model.graph
    fixed = bool((_shape(source)[0] or 0) > 0)
    constants = {tensor.name for tensor in graph.initializer}
    kept = helper.make_tensor_value_info(source.name, TensorProto.FLOAT, ["n", 3, INPUT_SIZE, INPUT_SIZE])
    output = helper.make_tensor_value_info(target.name, TensorProto.FLOAT, ["n", EMBEDDING_SIZE])
    others = [value for value in graph.input if value.name not in constants and value.name != source.name]
    del graph.input[:], graph.output[:], graph.value_info[:]  # what stood there was written for another batch
    graph.input.extend([kept, *others])
    graph.output.append(output)
    # Weights that are no inputs came with the fourth version of the format.
    model.ir_version = max(model.ir_version, 8)
    if fixed:
        for node in graph.node:
            if node.op_type == "Reshape":
                _open_reshape(graph, node)
    return fixed


def _open_reshape(graph: GraphProto, node: NodeProto) -> None:
    """Let a Reshape to 1 x ... keep the batch instead: 0 copies the size that is there."""
    shape = _constant(graph, node.input[1]) if len(node.input) > 1 else None
    if shape is None or shape.ndim != 1 or shape.size < 2 or shape[0] != 1:
        return
    if any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
        return
    name = _fresh(graph, f"{node.input[1]}_any_batch")
    graph.initializer.append(numpy_helper.from_array(np.array([0, *shape[1:]], np.int64), name))
    node.input[1] = name


def _constant(graph: GraphProto, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    """Return a constant that is an initializer or a Constant's value; None if it is neither."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return np.asarray(numpy_helper.to_array(tensor), np.int64)
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
            return np.asarray(numpy_helper.to_array(values[0]), np.int64) if values else None
    return None


def _swap_channels(graph: GraphProto, source: str) -> None:
    """Turn RGB into the BGR that the network wants, as its first operator."""
    order, swapped = _fresh(graph, "dwarpal_bgr"), _fresh(graph, "dwarpal_swapped")
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == source:
                node.input[position] = swapped
    graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), order))
    graph.node.insert(0, helper.make_node("Gather", [source, order], [swapped], axis=1))


def _fresh(graph: GraphProto, name: str) -> str:
    """Return a name that nothing in the graph has yet."""
    taken = {tensor.name for tensor in graph.initializer}
    taken |= {each for node in graph.node for each in (*node.input, *node.output)}
    while name in taken:
        name += "_"
    return name


def _note_input(model: ModelProto, declared: InputDeclaration) -> None:
    """Write the declared input into the file: one network, read in two ways, makes two spaces of templates."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    note = {"mean": declared.mean, "std": declared.std, "bgr": declared.bgr}
    props = {entry.key: entry.value for entry in kept} | {METADATA_KEY: json.dumps(note, sort_keys=True)}
    helper.set_model_props(model, props)


def _count_parameters(graph: GraphProto) -> int:
    """Count the floating-point numbers that the file carries."""
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
    quantized = {TensorProto.INT8, TensorProto.UINT8}
    return sum(int(np.prod(t.dims, dtype=np.int64)) for t in _tensors(graph) if t.data_type in floats | quantized)
