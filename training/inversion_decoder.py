"""The network that makes a face of an embedding: an attack tool, trained to measure what a stolen template gives away.

After Mai, Cao, Yuen and Jain, "On the Reconstruction of Face Images from Deep Face Templates", IEEE TPAMI 41(5), 2018,
with fewer layers: a linear layer, three times doubled and convolved, and a picture of half the aligned face's size.
"""

from __future__ import annotations

import io
import warnings
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from biometrics.alignment import ALIGNED_SIZE
from biometrics.types import EMBEDDING_SIZE

SIDE = ALIGNED_SIZE // 2
FIRST = 7
CHANNELS = (96, 96, 64, 32)
OPSET = 17


class Decoder(nn.Module):
    """n x 512 unit vectors to n x 3 x 56 x 56 RGB in 0 to 1; 2.7 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.Linear(EMBEDDING_SIZE, CHANNELS[0] * FIRST * FIRST)
        self.stages = nn.Sequential(
            nn.BatchNorm2d(CHANNELS[0]),
            nn.ReLU(),
            *(_doubled(inputs, outputs) for inputs, outputs in pairwise(CHANNELS)),
        )
        self.paint = nn.Conv2d(CHANNELS[-1], 3, 3, padding=1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Paint the faces."""
        features = self.spread(embeddings * EMBEDDING_SIZE**0.5).view(-1, CHANNELS[0], FIRST, FIRST)
        picture: Tensor = torch.sigmoid(self.paint(self.stages(features)))
        return picture


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def enlarged(pictures: Tensor) -> Tensor:
    """Bring n x 3 x 56 x 56 pictures to the size of an aligned face, as the embedder takes it."""
    return nn.functional.interpolate(pictures, size=(ALIGNED_SIZE, ALIGNED_SIZE), mode="bilinear", align_corners=False)


class AlignedDecoder(nn.Module):
    """What is exported: n x 512 unit vectors to n x 3 x 112 x 112 RGB in 0 to 255."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, embeddings: Tensor) -> Tensor:
        """Paint the faces at full size."""
        return 255 * enlarged(self.decoder(embeddings))


def onnx_bytes(decoder: Decoder) -> bytes:
    """Export for ONNX Runtime, the batch left open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs another package; this one serves networks of plain layers as well.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            AlignedDecoder(decoder).eval(),
            (torch.zeros(2, EMBEDDING_SIZE),),
            cast(str, buffer),  # torch takes a file in memory too; only its annotation does not
            input_names=["embedding"],
            output_names=["face"],
            dynamic_axes={"embedding": {0: "n"}, "face": {0: "n"}},
            dynamo=False,
            opset_version=OPSET,
        )
    return buffer.getvalue()
