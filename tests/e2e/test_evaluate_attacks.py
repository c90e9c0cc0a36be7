"""`dwarpal evaluate inversion` and `evaluate morphing` on rendered heads of the two portraits."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from biometrics.alignment import align
from biometrics.capture import only_face
from biometrics.types import FloatArray, Pixels
from evaluation.head_motion import Head, Pose
from infra.gallery import random_rotation
from services.bootstrap import Networks
from services.cli.main import app

NOBODY = 0.5
"""Cosine below which the decoder of this test paints nothing but gray."""


@pytest.fixture
def heads(tmp_path: Path, astronaut: Pixels, grace_hopper: Pixels, networks: Networks) -> dict[str, list[Pixels]]:
    """Two people's photographs, of which pairs.csv names the mated pairs."""
    found: dict[str, list[Pixels]] = {}
    lines = ["image_a,image_b,same"]
    for person, portrait in (("Eileen", astronaut), ("Grace", grace_hopper)):
        head = Head.lifted(portrait, only_face(networks.detector.detect(portrait)).landmarks, eye=60)
        found[person] = [head.turned(Pose(yaw=float(yaw))) for yaw in np.linspace(-12, 12, 6)]
        names = [f"{person}_{number:04}.png" for number in range(6)]
        for name, image in zip(names, found[person], strict=True):
            Image.fromarray(image).save(tmp_path / name)
        lines += [f"{a},{b},1" for a, b in pairwise(names)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    return found


def write_decoder(path: Path, templates: FloatArray, faces: list[Pixels]) -> None:
    """Write a decoder that paints the face of the template that is like what it gets, or gray."""
    keys = np.concatenate((100 * templates.T, np.zeros((512, 1))), axis=1).astype(np.float32)
    bias = np.array([0.0] * len(faces) + [100 * NOBODY], np.float32)
    gray = np.full((1, 3 * 112 * 112), 128, np.float32)
    painted = np.stack([face.transpose(2, 0, 1).ravel() for face in faces]).astype(np.float32)
    constants = {"keys": keys, "bias": bias, "faces": np.concatenate((painted, gray)), "shape": [-1, 3, 112, 112]}
    nodes = [
        helper.make_node("MatMul", ["embedding", "keys"], ["near"]),
        helper.make_node("Add", ["near", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"]),
        helper.make_node("MatMul", ["shares", "faces"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["face"]),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 512])],
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@pytest.mark.privacy_row("rotation_is_no_secret")
def test_a_perfect_decoder_opens_plain_templates_and_no_sealed_ones(
    tmp_path: Path, heads: dict[str, list[Pixels]], networks: Networks
) -> None:
    faces = [
        align(image, only_face(networks.detector.detect(image)).landmarks)
        for images in heads.values()
        for image in images
    ]
    templates = np.stack([networks.embedder.embed(face).vector for face in faces])
    rotation = random_rotation()
    np.save(tmp_path / "rotation.npy", rotation)
    write_decoder(tmp_path / "plain.onnx", templates, faces)
    write_decoder(tmp_path / "rotated.onnx", templates @ rotation, faces)
    picture = tmp_path / "faces.png"
    arguments = ["evaluate", "inversion", str(tmp_path / "pairs.csv"), "--images", str(tmp_path)]
    arguments += ["--decoder", str(tmp_path / "plain.onnx"), "--rotated-decoder", str(tmp_path / "rotated.onnx")]
    result = CliRunner().invoke(app, [*arguments, "--picture", str(picture), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    rates = {(row["stolen"], row["decoder"]): row["type_1"]["rate"] for row in report["rows"]}
    assert rates["plain", "of plain templates"] == 1.0
    assert rates["rotated", "of this very gallery's rotated templates"] == 1.0
    for nothing in (
        ("another person's, plain", "of plain templates"),
        ("rotated", "of plain templates"),
        ("rotated", "of another gallery's rotated templates"),
        ("sealed", "of plain templates"),
    ):
        assert rates[nothing] < 0.01  # the mean of two people is left out: it is their morph
    assert report["genuine"]["rate"] == 1.0
    with Image.open(picture) as drawn:
        assert drawn.size == (324, 488)
    assert "sealed" in CliRunner().invoke(app, arguments).stdout


def test_what_is_no_decoder_is_refused(tmp_path: Path, heads: dict[str, list[Pixels]]) -> None:
    arguments = ["evaluate", "inversion", str(tmp_path / "pairs.csv"), "--images", str(tmp_path), "--decoder"]
    assert CliRunner().invoke(app, [*arguments, str(tmp_path / "pairs.csv")]).exit_code != 0
    write_decoder(tmp_path / "plain.onnx", np.eye(512, dtype=np.float32)[:2], [np.zeros((112, 112, 3), np.uint8)] * 2)
    arguments += [str(tmp_path / "plain.onnx")]
    for wrong in (["--picture", "faces.jpg"], ["--rotated-decoder", str(tmp_path / "plain.onnx")]):
        assert CliRunner().invoke(app, [*arguments, *wrong]).exit_code == 2


@pytest.mark.privacy_row("morphing")
def test_the_match_rate_of_morphs_is_measured_at_the_gates_threshold(
    tmp_path: Path, heads: dict[str, list[Pixels]]
) -> None:
    arguments = ["evaluate", "morphing", str(tmp_path / "pairs.csv"), "--images", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    look_alikes = report["rows"][0]
    assert report["genuine"]["rate"] == 1.0
    assert look_alikes["both"]["trials"] == 1
    assert look_alikes["each"]["rate"] > 0  # a morph of these two passes for one of them at least
    assert look_alikes["without"]["rate"] == 0
    assert report["rmmr"]["look-alikes"] == look_alikes["both"]["rate"]
    assert "MMPMR" in CliRunner().invoke(app, arguments).stdout
