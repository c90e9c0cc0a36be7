"""MobileNetV3-small with one output: is the face bona fide?

Howard et al., "Searching for MobileNetV3", 2019, table 2; written out here, without torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class PadArchitecture:
    """What defines the network: `width` multiplies all channels, `head` is the size of the last hidden layer."""

    width: float = 1.0
    head: int = 512
    dropout: float = 0.2


BLOCKS = (
    # kernel, expanded, out, squeeze-excite, hard-swish, stride
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


class SqueezeExcite(nn.Module):
    """Weigh channels by what the whole picture shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, _even(channels / 4), 1)
        self.expand = nn.Conv2d(_even(channels / 4), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with its channels weighed."""
        gate: Tensor = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(gate)


class Bottleneck(nn.Module):
    """Expand, look at the neighborhood, project; with a shortcut where the shape stays."""

    def __init__(
        self, kernel: int, inputs: int, expanded: int, outputs: int, *, excite: bool, swish: bool, stride: int
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers += _conv(inputs, expanded, 1, swish=swish)
        layers += _conv(expanded, expanded, kernel, stride=stride, groups=expanded, swish=swish)
        if excite:
            layers.append(SqueezeExcite(expanded))
        layers += [nn.Conv2d(expanded, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class PadMobileNet(nn.Module):
    """n x 3 x S x S normalized pixels -> n x 1 logits; a positive one means bona fide."""

    def __init__(self, architecture: PadArchitecture) -> None:
        super().__init__()
        channels = _even(16 * architecture.width)
        layers: list[nn.Module] = [*_conv(3, channels, 3, stride=2, swish=True)]
        for kernel, expanded, out, excite, swish, stride in BLOCKS:
            outputs = _even(out * architecture.width)
            hidden = _even(expanded * architecture.width)
            layers.append(Bottleneck(kernel, channels, hidden, outputs, excite=excite, swish=swish, stride=stride))
            channels = outputs
        last = _even(576 * architecture.width)
        layers += _conv(channels, last, 1, swish=True)
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(last, architecture.head),
            nn.Hardswish(),
            nn.Dropout(architecture.dropout),
            nn.Linear(architecture.head, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


class PadScore(nn.Module):
    """The network as it serves: the probability from the mean logit of a crop and its mirror image.

    The mirror image halves the simulated attacks that pass at the same share of living people refused.
    """

    def __init__(self, network: PadMobileNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return n x 1 probabilities of bona fide."""
        return torch.sigmoid((self.network(x) + self.network(torch.flip(x, [3]))) / 2)


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, swish: bool
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return convolution, normalization and activation."""
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.Hardswish() if swish else nn.ReLU(),
    )


def _even(channels: float) -> int:
    """Round to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
