"""How pixels enter the PAD network in training, and what it says about crops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from biometrics.types import FloatArray
from liveness.pad import normalized
from training.pad_augment import serving_crop
from training.pad_data import PadCrops
from training.pad_network import PadMobileNet, PadScore

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""ImageNet's, on 0-255."""


def as_input(crops: Tensor) -> Tensor:
    """Normalize n x S x S x 3 pixels on the way into the network."""
    scaled = (crops.float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def scores_of(network: PadMobileNet, crops: PadCrops, *, batch: int = 256) -> FloatArray:
    """Return the network's probability of bona fide for every crop as the gate would cut it, n."""
    served = PadScore(network).eval()
    pixels = serving_crop(crops.crops)
    parts = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            inputs = torch.from_numpy(normalized(pixels[start : start + batch], mean=MEAN, std=STD))
            parts.append(served(inputs).flatten().numpy())
    return np.concatenate(parts)
