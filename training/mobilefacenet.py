"""MobileFaceNet in PyTorch: the teacher, and with a wider last layer the network that continues from it.

Architecture after Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", 2018, in the form of the teacher's file: residual inverted bottlenecks, ReLU6, normalization already folded
into the convolutions. A folded network has no batch statistics, so training and serving compute the same.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, NestedIOFunction

TEACHER_SIZE = 128
"""Numbers in the teacher's embedding."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""The teacher's input on RGB 0-255."""

STAGES = ((64, 128, 5, 2), (128, 256, 1, 2), (128, 256, 6, 1), (128, 512, 1, 2), (128, 256, 2, 1))
"""Output channels, expanded channels, blocks, stride of the first block."""


class HalvingConvolution(torch.autograd.Function):
    """A 3 x 3 depthwise convolution of stride 2, whose gradients are made of quick operations.

    The stock backward pass of this one shape takes a quarter of a training step on a CPU; both give the same numbers.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve n x c x h x w features of even height and width."""
        ctx.save_for_backward(features, weight)
        return nn.functional.conv2d(features, weight, bias, 2, 1, 1, features.shape[1])

    @staticmethod
    def backward(ctx: NestedIOFunction, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spread the gradient over the finer grid and convolve it; sum shifted products for the kernel."""
        features, weight = ctx.saved_tensors
        channels, height, width = features.shape[1:]
        fine = torch.zeros_like(features)
        fine[:, :, ::2, ::2] = gradient
        to_features = nn.functional.conv2d(fine, weight.flip(2, 3), None, 1, 1, 1, channels)
        padded = nn.functional.pad(features, (1, 1, 1, 1))
        shifted = [(padded[:, :, i : i + height : 2, j : j + width : 2] * gradient) for i in range(3) for j in range(3)]
        to_weight = torch.stack([product.sum((0, 2, 3), dtype=torch.float32) for product in shifted], dim=1)
        to_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return to_features, to_weight.view_as(weight).to(weight.dtype), to_bias.to(weight.dtype)


class DepthwiseConvolution(nn.Conv2d):
    """A 3 x 3 convolution of each channel alone, of stride 1 or 2."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve n x c x h x w features."""
        if self.stride == (2, 2) and self.bias is not None and self.training and torch.is_grad_enabled():
            kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else features.dtype
            out: Tensor = HalvingConvolution.apply(  # type: ignore[no-untyped-call]
                features.to(kind), self.weight.to(kind), self.bias.to(kind)
            )
            return out
        return super().forward(features)


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel alone, narrow; the input is added where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, wide: int, stride: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, wide, 1)
        self.depthwise = DepthwiseConvolution(wide, stride)
        self.narrow = nn.Conv2d(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Transform n x c x h x w features."""
        out = nn.functional.relu6(self.widen(features))
        out = nn.functional.relu6(self.depthwise(out))
        narrow: Tensor = self.narrow(out)
        return features + narrow if self.residual else narrow


class MobileFaceNet(nn.Module):
    """Aligned faces, n x 3 x 112 x 112 and normalized, to n x `embedding_size` vectors, not yet of unit length."""

    def __init__(self, embedding_size: int = 512) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, 2, 1)
        self.depthwise = nn.Conv2d(64, 64, 3, 1, 1, groups=64)
        self.pointwise = nn.Conv2d(64, 64, 1)
        blocks: list[InvertedBottleneck] = []
        inputs = 64
        for outputs, wide, count, stride in STAGES:
            for number in range(count):
                blocks.append(InvertedBottleneck(inputs, outputs, wide, stride if number == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(inputs, 512, 1)
        self.gather = nn.Conv2d(512, 512, 7, groups=512)
        self.embed = nn.Conv2d(512, embedding_size, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed normalized pixels."""
        relu6, relu = nn.functional.relu6, nn.functional.relu
        features = relu(self.pointwise(relu(self.depthwise(relu6(self.stem(pixels))))))
        features = relu6(self.last(self.blocks(features)))
        return torch.flatten(self.embed(self.gather(features)), 1)


def load_teacher(path: Path, embedding_size: int = TEACHER_SIZE) -> MobileFaceNet:
    """Read the ONNX file of the teacher, or of what continues from it with another `embedding_size`, into PyTorch.

    Raises `ValueError` if its convolutions are not MobileFaceNet's.
    """
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    network = MobileFaceNet(embedding_size)
    ours = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if len(ours) != len(convolutions):
        raise ValueError(f"{path.name} has {len(convolutions)} convolutions, MobileFaceNet {len(ours)}")
    with torch.no_grad():
        for module, node in zip(ours, convolutions, strict=True):
            for parameter, name in zip((module.weight, module.bias), node.input[1:], strict=True):
                if parameter is None or parameter.shape != tensors[name].shape:
                    raise ValueError(f"a convolution of {path.name} has another shape than MobileFaceNet's")
                parameter.copy_(tensors[name])
    return network.eval()


def widened(teacher: MobileFaceNet, embedding_size: int, generator: torch.Generator) -> tuple[MobileFaceNet, Tensor]:
    """Continue from the teacher with a longer embedding, whose cosines are at first the teacher's own.

    Returns the network and the `embedding_size` x 128 matrix with orthonormal columns that takes a teacher's
    embedding to the new network's.
    """
    network = MobileFaceNet(embedding_size)
    network.load_state_dict(
        {name: value for name, value in teacher.state_dict().items() if not name.startswith("embed.")}, strict=False
    )
    square = torch.randn(embedding_size, TEACHER_SIZE, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square).Q.float()
    with torch.no_grad():
        network.embed.weight.copy_((basis @ teacher.embed.weight.flatten(1))[..., None, None])
        if network.embed.bias is not None and teacher.embed.bias is not None:
            network.embed.bias.copy_(basis @ teacher.embed.bias)
    return network, basis
