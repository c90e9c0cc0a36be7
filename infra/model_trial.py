"""Tries a network on patterns that show nobody: does it give embeddings that can be used at all?

This finds files that are broken, untrained, or read in a wrong way. It says nothing about how well a network tells
people apart: that is measured on a site's own faces by `dwarpal calibrate`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import JsonValue

from biometrics.embedding import unit_rows
from biometrics.errors import ModelUnusable
from biometrics.types import EMBEDDING_SIZE, FloatArray
from infra.onnx_review import INPUT_SIZE, InputDeclaration
from infra.runtime import LOAD_ERRORS, OnnxNetwork, load_network
from infra.settings import ExecutionProvider

PATTERNS = 4
SAME = 1 - 1e-5
"""Cosine from which two embeddings of one picture are the same; float32 sums differ in the sixth digit."""

LARGEST = 1e17
"""Number in an embedding whose square can still be summed in float32."""

REACTS = 0.98
"""Mean cosine between different patterns up to which a network looks at them; one whose input was normalized twice
stands at 0.99, trained networks read rightly at 0.3 to 0.5."""

CLEARLY_WIDER = 0.15
"""How much lower the mean cosine must be under another input range before people are told."""

COMMON_INPUTS = (
    InputDeclaration(),
    InputDeclaration((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    InputDeclaration((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    InputDeclaration((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
)
"""ArcFace, plain pixels, 0 to 1, ImageNet."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the patterns showed; `advice` is for people and empty where nothing stood out."""

    min_norm: float
    max_norm: float
    mean_cosine: float
    advice: tuple[str, ...]

    def as_json(self) -> dict[str, JsonValue]:
        """Return the figures for a card."""
        return {
            "patterns": PATTERNS,
            "norm_before_normalization": [round(self.min_norm, 4), round(self.max_norm, 4)],
            "mean_cosine_of_different_patterns": round(self.mean_cosine, 4),
        }


def make_patterns() -> FloatArray:
    """Return patterns as faces come: n x 112 x 112 x 3, 0-255; soft patches with the noise of a camera."""
    made = []
    for seed in range(PATTERNS):
        random = np.random.default_rng(seed)
        patches = random.integers(20, 236, (7, 7, 3)).astype(np.float32)
        soft = cv2.resize(patches, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_CUBIC)
        made.append(np.clip(soft + random.normal(0, 4, soft.shape), 0, 255))
    return np.asarray(np.rint(np.stack(made)), np.float32)


def as_input(patterns: FloatArray, declared: InputDeclaration) -> FloatArray:
    """Normalize as the embedder does, to n x 3 x 112 x 112 RGB; the swap to BGR is the graph's."""
    mean, std = np.array(declared.mean, np.float32), np.array(declared.std, np.float32)
    return np.ascontiguousarray(((patterns - mean) / std).transpose(0, 3, 1, 2), np.float32)


def try_network(content: bytes, declared: InputDeclaration) -> Trial:
    """Run a reviewed ONNX file on the patterns. Raises `ModelUnusable` with the first thing that is wrong.

    1. it loads; 2. n x 512 finite numbers with a direction; 3. the same twice; 4. a batch is its singles;
    5. it reacts to what it is shown; 6. would another input range make it react clearly more?
    """
    patterns = make_patterns()
    batch = as_input(patterns, declared)
    # 1. it loads
    network = load_network(content, provider=ExecutionProvider.CPU, threads=0)
    # 2. finite numbers with a direction
    raw = embeddings(network, batch)
    lengths = np.linalg.norm(raw, axis=1)
    vectors = unit_rows(raw)
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5):
        raise ModelUnusable("The network's embeddings cannot be scaled to unit length.")
    # 3. the same twice
    if not np.array_equal(raw, embeddings(network, batch)):
        raise ModelUnusable("The network gives two answers to one picture.")
    # 4. a batch is its singles
    singles = unit_rows(np.concatenate([embeddings(network, batch[i : i + 1]) for i in range(len(batch))]))
    if float(np.min(np.sum(vectors * singles, axis=1))) < SAME:
        raise ModelUnusable(
            "The network's answer for a face depends on the faces beside it: its batch is fixed inside."
        )
    # 5. it reacts
    closeness = mean_cosine(vectors)
    if closeness > REACTS:
        raise ModelUnusable(
            f"The network gives nearly one answer to different pictures (mean cosine {closeness:.3f}): it is "
            "untrained, or its input range is another one (--mean, --std)."
        )
    # 6. another range
    return Trial(float(lengths.min()), float(lengths.max()), closeness, _advice(network, patterns, declared, closeness))


def mean_cosine(vectors: FloatArray) -> float:
    """Return the mean cosine over all pairs of different rows; n x d unit vectors."""
    count = len(vectors)
    total = np.sum(vectors, axis=0, dtype=np.float64)
    return (float(np.dot(total, total)) - count) / (count * (count - 1))


def embeddings(network: OnnxNetwork, batch: FloatArray) -> FloatArray:
    """Return what the network makes of n faces, n x 512; raise `ModelUnusable` if that is no such thing."""
    try:
        outputs = network.run(batch)
    except LOAD_ERRORS as error:
        raise ModelUnusable(f"The network does not run on {len(batch)} faces at once.") from error
    if outputs[0].shape != (len(batch), EMBEDDING_SIZE):
        shape = " x ".join(str(size) for size in outputs[0].shape)
        raise ModelUnusable(f"The network made {shape} numbers of {len(batch)} faces, not {EMBEDDING_SIZE} of each.")
    if not np.all(np.abs(outputs[0]) < LARGEST):
        raise ModelUnusable("The network's embeddings are not finite numbers of a sensible size.")
    return outputs[0]


def _advice(
    network: OnnxNetwork, patterns: FloatArray, declared: InputDeclaration, closeness: float
) -> tuple[str, ...]:
    """Compare with the common input ranges: the right one lets different pictures lie farther apart."""
    best, least = declared, closeness - CLEARLY_WIDER
    for other in COMMON_INPUTS:
        if (other.mean, other.std) == (declared.mean, declared.std):
            continue
        try:
            closer = mean_cosine(unit_rows(embeddings(network, as_input(patterns, other))))
        except ModelUnusable:
            continue
        if closer < least:
            best, least = other, closer
    if best is declared:
        return ()
    return (
        f"Different pictures lie farther apart with --mean {_numbers(best.mean)} --std {_numbers(best.std)} "
        f"(mean cosine {least:.2f}, not {closeness:.2f}): make sure which input the network was trained with.",
    )


def _numbers(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ",".join(f"{value:g}" for value in values)
