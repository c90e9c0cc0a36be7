"""Files that somebody brought: what is refused before anything runs, and what is made to fit."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import infra.onnx_review
from biometrics.errors import ModelUnusable
from infra.model_trial import as_input, embeddings, make_patterns, try_network
from infra.onnx_review import METADATA_KEY, InputDeclaration, review_onnx
from infra.runtime import load_network
from infra.settings import ExecutionProvider
from tests.onnx_files import parsed, small_network

ARCFACE = InputDeclaration()
SCALED_INSIDE = (
    helper.make_node("Sub", ["input", "one"], ["minus"]),
    helper.make_node("Mul", ["minus", "one"], ["prepared"]),
)


def answer(content: bytes, batch: np.ndarray) -> np.ndarray:
    return embeddings(load_network(content, provider=ExecutionProvider.CPU, threads=1), batch)


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_in_attribute(model: ModelProto) -> None:
    value = numpy_helper.from_array(np.zeros(1, np.float32))
    value.external_data.add(key="location", value="weights.bin")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=value))


def custom_operator(model: ModelProto) -> None:
    model.graph.node[1].domain = "com.vendor"
    model.opset_import.add(domain="com.vendor", version=1)


def control_flow(model: ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    model.graph.node.append(helper.make_node("If", ["one"], ["d"], then_branch=branch, else_branch=branch))


def own_functions(model: ModelProto) -> None:
    model.functions.add(name="f", domain="own")


def opset(version: int) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def second_output(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ["batch", 196]))


def second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def half_precision_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def unknown_operator(model: ModelProto) -> None:
    model.graph.node[1].op_type = "Frobnicate"


def dangling(model: ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def newer_format(model: ModelProto) -> None:
    model.ir_version = 99


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no ONNX|no operators"),
        (b"not a network", "neither an ONNX"),
        (small_network(change=external), "another file"),
        (small_network(change=external_in_attribute), "another file"),
        (small_network(change=custom_operator), r"com\.vendor\.Relu"),
        (small_network(change=control_flow), "control flow"),
        (small_network(change=own_functions), "functions of its own"),
        (small_network(change=opset(6)), "operator set"),
        (small_network(change=opset(999)), "operator set"),
        (small_network(change=second_output), "1 inputs and 2 outputs"),
        (small_network(change=second_input), "2 inputs and 1 outputs"),
        (small_network(change=half_precision_input), "float32"),
        (small_network(change=unknown_operator), "not valid ONNX"),
        (small_network(change=dangling), "not valid ONNX"),
        (small_network(change=newer_format), "format version"),
        (small_network(inputs=("n", 3, 160, 160)), "input is n x 3 x 160 x 160"),
        (small_network(inputs=("n", 112, 112, 3)), "input is n x 112 x 112 x 3"),
        (small_network(inputs=(4, 3, 112, 112)), "input is 4 x 3 x 112 x 112"),
        (small_network(inputs=("n", 3, 112)), "input is n x 3 x 112"),
        (small_network(size=128, outputs=("n", 128)), "output is n x 128"),
        (small_network(size=128, outputs=("n", "d")), "not valid ONNX"),
        (small_network(outputs=("n", 512, 1, 1)), "output is n x 512 x 1 x 1"),
        (small_network(before=SCALED_INSIDE), "normalizes its input itself .Sub, Mul"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ModelUnusable, match=reason):
        review_onnx(content, ARCFACE)


def test_a_file_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.onnx_review, "MAX_NETWORK_BYTES", 1000)
    with pytest.raises(ModelUnusable, match="larger than"):
        review_onnx(small_network(), ARCFACE)


def test_a_fixed_batch_is_opened_and_answers_stay() -> None:
    before = small_network(inputs=(1, 3, 112, 112), outputs=(1, 512), reshape=(1, -1))
    reviewed = review_onnx(before, ARCFACE)
    assert reviewed.batch_opened
    batch = as_input(make_patterns(), ARCFACE)
    together = answer(reviewed.content, batch)
    for face, row in zip(batch, together, strict=True):
        np.testing.assert_allclose(answer(before, face[None])[0], row, rtol=1e-5, atol=1e-4)
    try_network(reviewed.content, ARCFACE)


def test_a_batch_fixed_beyond_repair_is_refused_by_the_trial() -> None:
    content = small_network(inputs=("n", 3, 112, 112), outputs=("n", 512), reshape=(-1, 196))
    pinned = small_network(outputs=(1, 512), reshape=(1, 196))
    assert not review_onnx(content, ARCFACE).batch_opened
    with pytest.raises(ModelUnusable, match="faces at once"):
        try_network(review_onnx(pinned, ARCFACE).content, ARCFACE)


def test_a_wrongly_declared_output_batch_is_put_right() -> None:
    # InsightFace's own files say 1 x 512 and return n x 512.
    reviewed = review_onnx(small_network(outputs=(1, 512)), ARCFACE)
    assert [
        d.dim_param or d.dim_value for d in parsed(reviewed.content).graph.output[0].type.tensor_type.shape.dim
    ] == [
        "n",
        512,
    ]


def test_weights_listed_as_inputs_are_no_inputs() -> None:
    def old_style(model: ModelProto) -> None:
        model.ir_version = 3
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    reviewed = review_onnx(small_network(change=old_style), ARCFACE)
    assert len(parsed(reviewed.content).graph.input) == 1


def test_bgr_is_swapped_inside() -> None:
    content = small_network()
    swapped = review_onnx(content, InputDeclaration(bgr=True)).content
    batch = as_input(make_patterns(), ARCFACE)
    np.testing.assert_array_equal(answer(swapped, batch), answer(content, np.ascontiguousarray(batch[:, ::-1])))


def test_one_network_read_in_two_ways_has_two_digests() -> None:
    content = small_network()
    declarations = [ARCFACE, InputDeclaration(std=(128.0,) * 3), InputDeclaration(bgr=True)]
    made = [review_onnx(content, declared).content for declared in declarations]
    assert len(set(made)) == 3
    note = json.loads({p.key: p.value for p in parsed(made[1]).metadata_props}[METADATA_KEY])
    assert note == {"mean": [127.5] * 3, "std": [128.0] * 3, "bgr": False}
    assert review_onnx(content, ARCFACE).content == made[0], "the same review gives the same bytes"


def test_a_network_that_scales_inside_is_taken_when_its_input_is_stated() -> None:
    plain = InputDeclaration((0.0,) * 3, (1.0,) * 3, explicit=True)
    assert review_onnx(small_network(before=SCALED_INSIDE), plain).operators == 6


@pytest.mark.parametrize("std", [(0.0, 1.0, 1.0), (float("nan"), 1.0, 1.0), (-1.0, 1.0, 1.0)])
def test_impossible_declarations_are_refused(std: tuple[float, float, float]) -> None:
    with pytest.raises(ModelUnusable):
        InputDeclaration(std=std)


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40))
@settings(max_examples=60)
def test_damaged_files_are_refused_or_reviewed_and_nothing_else(at: int, damage: bytes) -> None:
    content = bytearray(small_network())
    content[at : at + len(damage)] = damage
    try:
        review_onnx(bytes(content), ARCFACE)
    except ModelUnusable as error:
        assert error.detail


# The trial


def constant_answer(model: ModelProto) -> None:
    model.graph.node[3].input[0] = "zeros"
    model.graph.node.insert(3, helper.make_node("Sub", ["f", "f"], ["zero"]))
    model.graph.node.insert(4, helper.make_node("Add", ["zero", "one"], ["zeros"]))


def random_answer(model: ModelProto) -> None:
    model.graph.node[3].output[0] = "quiet"
    model.graph.node.append(helper.make_node("RandomNormalLike", ["quiet"], ["noise"]))
    model.graph.node.append(helper.make_node("Add", ["quiet", "noise"], ["output"]))


def no_number(model: ModelProto) -> None:
    model.graph.node[3].output[0] = "quiet"
    model.graph.node.append(helper.make_node("Sub", ["quiet", "quiet"], ["zero"]))
    model.graph.node.append(helper.make_node("Div", ["quiet", "zero"], ["output"]))


def faces_mixed(model: ModelProto) -> None:
    model.graph.node[3].output[0] = "alone"
    model.graph.node.append(helper.make_node("ReduceMean", ["alone"], ["mean"], axes=[0]))
    model.graph.node.append(helper.make_node("Sub", ["alone", "mean"], ["less"]))
    model.graph.node.append(helper.make_node("Add", ["less", "one"], ["output"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (constant_answer, "nearly one answer"),
        (random_answer, "two answers"),
        (no_number, "finite numbers"),
        (faces_mixed, "faces beside it"),
    ],
)
def test_networks_that_are_of_no_use_fail_the_trial(change: Callable[[ModelProto], None], reason: str) -> None:
    with pytest.raises(ModelUnusable, match=reason):
        try_network(review_onnx(small_network(change=change), ARCFACE).content, ARCFACE)


def test_a_wrong_input_range_is_noticed() -> None:
    from infra.models import find_card

    card, folder = find_card("embedder", "mobilefacenet512")
    content = (folder / card.file).read_bytes()
    right = try_network(review_onnx(content, ARCFACE).content, ARCFACE)
    assert right.advice == ()
    assert right.mean_cosine < 0.6
    plain = InputDeclaration((0.0,) * 3, (1.0,) * 3, explicit=True)
    assert "--mean" in try_network(review_onnx(content, plain).content, plain).advice[0]
    twice = InputDeclaration((127.5,) * 3, (127.5**2,) * 3, explicit=True)
    with pytest.raises(ModelUnusable, match="input range"):
        try_network(review_onnx(content, twice).content, twice)
