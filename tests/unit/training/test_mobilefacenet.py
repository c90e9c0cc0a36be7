"""The teacher in PyTorch is the teacher's file, and what continues from it begins with the teacher's cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from training.mobilefacenet import DepthwiseConvolution, MobileFaceNet, load_teacher, widened

TEACHER = Path(__file__).resolve().parents[4] / "shared" / "data" / "teacher" / "mobilefacenet.onnx"


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(3))


def test_the_teacher_in_torch_gives_the_files_numbers() -> None:
    if not TEACHER.exists():
        pytest.skip("the teacher's file is not beside this project")
    batch = noise(2)
    (expected,) = ReferenceEvaluator(onnx.load(str(TEACHER))).run(None, {"input0": batch.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(load_teacher(TEACHER)(batch).numpy(), expected, atol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    path = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:])), str(path))
    with pytest.raises(ValueError, match="convolutions"):
        load_teacher(path)


def test_a_longer_embedding_keeps_the_cosines() -> None:
    torch.manual_seed(5)
    teacher = MobileFaceNet(128).eval()
    network, basis = widened(teacher, 512, torch.Generator().manual_seed(5))
    with torch.inference_mode():
        before, after = teacher(noise(4)), network.eval()(noise(4))
    assert after.shape == (4, 512)
    torch.testing.assert_close(after, before @ basis.T, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(128), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_quick_depthwise_gradient_is_the_stock_one(stride: int) -> None:
    torch.manual_seed(2)
    ours = DepthwiseConvolution(5, stride).double()
    stock = nn.Conv2d(5, 5, 3, stride, 1, groups=5).double()
    stock.load_state_dict(ours.state_dict())
    gradients = []
    for convolution in (ours, stock):
        features = torch.randn(2, 5, 8, 6, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        features.requires_grad_()
        torch.autograd.backward(convolution.train()(features).square().sum())
        gradients.append((features.grad, convolution.weight.grad, convolution.bias.grad))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
