"""What the frozen stages make of crops: the features that are computed once and that the head learns from."""

from __future__ import annotations

import torch

from biometrics.types import FloatArray, Pixels
from liveness.pad import normalized
from training.pad_network import MEAN, STD, PadFeatures


def features_of(frozen: PadFeatures, crops: Pixels) -> FloatArray:
    """Return the features of n x CROP x CROP x 3 crops, n x FEATURES."""
    x = torch.from_numpy(normalized(crops, mean=(MEAN,) * 3, std=(STD,) * 3)).contiguous(
        memory_format=torch.channels_last
    )
    with torch.inference_mode():
        found: FloatArray = frozen(x).numpy()
    return found
