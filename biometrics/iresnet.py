"""IResNet: the network of ArcFace, as PyTorch sees it; only training and the import of weights use this file.

Deng et al., "ArcFace", 2019, section 3.1 (improved residual unit: BN-Conv-BN-PReLU-Conv-BN), after He et al.,
"Identity Mappings in Deep Residual Networks", 2016. Layer names, order and constants are those of InsightFace's
`iresnet.py`, so that its state dicts load as they are and give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from biometrics.errors import ModelUnusable

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Residual units in each of the four stages, by depth."""

INPUT_SIZE = 112
FINAL_SIZE = 7
"""Side of the last feature map: four stages, each of which halves 112."""

EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class IResNetConfig:
    """What defines the network: `width` is the number of channels of the first stage, doubled in each further one."""

    depth: int = 18
    width: int = 64
    embedding_size: int = 512
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS:
            raise ModelUnusable(f"There is no IResNet-{self.depth}, only {', '.join(map(str, BLOCKS))}.")
        if self.width < 1 or self.embedding_size < 1 or not 0 <= self.dropout < 1:
            raise ModelUnusable(
                "An IResNet needs a width and an embedding size above 0 and a dropout from 0 to below 1."
            )

    @property
    def name(self) -> str:
        """The network's short name: `iresnet18`, or `iresnet18w32` where the width is not the paper's 64."""
        return f"iresnet{self.depth}" + ("" if self.width == 64 else f"w{self.width}")

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> Self:
        """Guess depth, width and embedding size from a state dict's keys and shapes.

        Raises `ModelUnusable` if it is not an IResNet's; that every tensor fits is for `load_state_dict` to say.
        """
        stem, last = state.get("conv1.weight"), state.get("fc.weight")
        counts = tuple(_count_units(state, stage) for stage in range(1, 5))
        depth = next((depth for depth, blocks in BLOCKS.items() if blocks == counts), None)
        if depth is None or stem is None or stem.ndim != 4 or last is None or last.ndim != 2:
            raise ModelUnusable("The state dict is not that of an IResNet-18, 34, 50 or 100.")
        return cls(depth=depth, width=int(stem.shape[0]), embedding_size=int(last.shape[0]))


def _count_units(state: Mapping[str, Tensor], stage: int) -> int:
    """Count the residual units of a stage: `layer1.0.…`, `layer1.1.…`."""
    return len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.") and key.count(".") >= 2})


class IResNet(nn.Module):
    """n x 3 x 112 x 112 normalized pixels -> n x embedding_size, not yet of unit norm."""

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        blocks = BLOCKS[config.depth]
        self.conv1 = _conv3x3(3, width)
        self.bn1 = nn.BatchNorm2d(width, eps=EPSILON)
        self.prelu = nn.PReLU(width)
        self.layer1 = _stage(width, width, blocks[0])
        self.layer2 = _stage(width, 2 * width, blocks[1])
        self.layer3 = _stage(2 * width, 4 * width, blocks[2])
        self.layer4 = _stage(4 * width, 8 * width, blocks[3])
        self.bn2 = nn.BatchNorm2d(8 * width, eps=EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(8 * width * FINAL_SIZE * FINAL_SIZE, config.embedding_size)
        self.features = nn.BatchNorm1d(config.embedding_size, eps=EPSILON)
        # The scale of each component stays 1: the embedding is normalized, only its mean is to be learned.
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(torch.flatten(self.bn2(x), 1))
        embeddings: Tensor = self.features(self.fc(x))
        return embeddings


class ResidualUnit(nn.Module):
    """BN-Conv-BN-PReLU-Conv-BN beside a shortcut; the second convolution carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, eps=EPSILON)
        self.conv1 = _conv3x3(inputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = _conv3x3(outputs, outputs, stride)
        self.bn3 = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, eps=EPSILON))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output."""
        y: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    """Return one stage: its first unit halves the picture."""
    return nn.Sequential(
        ResidualUnit(inputs, outputs, 2), *(ResidualUnit(outputs, outputs, 1) for _ in range(units - 1))
    )


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
