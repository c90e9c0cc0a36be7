"""The model card: what stands beside a network's weights and drives how they are used.

Idea: timm's `pretrained_cfg`; contents after Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from biometrics.errors import ModelUnusable


class InputSpec(BaseModel):
    """How pixels become network input: size in pixels, then (x - mean) / std on RGB 0-255."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: str = Field(description="what the pixels show, in words")
    context: float = Field(1.0, description="PAD: side of the crop as a multiple of the face box")


class OperatingPoint(BaseModel):
    """A threshold and the error rate that it was measured to give.

    Embedder: accept a cosine >= threshold; `rate` is the FMR. PAD: accept a bona fide score >= threshold; `rate` is
    the BPCER on the development set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(gt=0, lt=1)
    threshold: float


class Provenance(BaseModel):
    """Where a site's own network came from, and the licence that its operator confirmed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(description="file name or URL")
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file as it came, before conversion")
    licence_text: str
    accepted_at: datetime


class ModelCard(BaseModel):
    """One network: file, digest, input, operating points, and what people must know about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: Literal["embedder", "pad"]
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    architecture: str
    parameters: int
    input: InputSpec
    output: str
    licence: str
    training: dict[str, JsonValue]
    evaluation: dict[str, JsonValue] = Field(description="error rates with intervals, each with its command")
    operating_points: tuple[OperatingPoint, ...]
    flip: bool = Field(True, description="embedder: the points were measured with the mirrored face averaged in")
    limits: tuple[str, ...]
    provenance: Provenance | None = Field(None, description="only of a network that a site imported")

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read a card; raise `ModelUnusable` if it is missing or wrong."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ModelUnusable(f"The model card {path.name} is missing or wrong.") from error

    def verified_bytes(self, folder: Path) -> bytes:
        """Read the network beside the card and return its bytes; raise `ModelUnusable` if the SHA-256 differs."""
        try:
            content = (folder / self.file).read_bytes()
        except OSError as error:
            raise ModelUnusable(f"The network {self.file} is missing.") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelUnusable(f"The network {self.file} is not the one that its card describes.")
        return content
