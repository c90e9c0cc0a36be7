"""How long each stage of a gate check takes: the part that sees pixels, without database, keys and log."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from biometrics.alignment import align
from biometrics.capture import only_face
from biometrics.comparison import cosine
from biometrics.ports import FaceDetector, FaceEmbedder
from biometrics.quality import QualityPolicy, assess_quality
from biometrics.types import Pixels
from evaluation.acquisition import Progress, silent
from evaluation.camera import CameraSettings, photograph
from evaluation.moving import moved_head, sway
from liveness.pad import PadDetector
from liveness.presentation import look_at

WARM_UP = 3
"""Runs that are not counted: the first ones allocate and compile."""

JPEG_QUALITY = 90

Decode = Callable[[bytes], Pixels]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one stage over all runs."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The parts of a check; without `pad` the stage is left out."""

    decode: Decode
    detector: FaceDetector
    embedder: FaceEmbedder
    pad: PadDetector | None
    quality: QualityPolicy


class Stopwatch:
    """Collects the seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one block."""
        started = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def latencies(self) -> dict[str, Latency]:
        """Return median and 95th percentile of each stage, in the order in which they first ran."""
        return {
            name: Latency(*(1000 * float(value) for value in np.percentile(seconds, [50, 95])))
            for name, seconds in self.seconds.items()
        }


def benchmark(content: bytes, pipeline: Pipeline, *, runs: int, progress: Progress = silent) -> dict[str, Latency]:
    """Run one encoded photograph through every stage `runs` times after a warm-up; `check` is their sum.

    Raises `UnusableFace` if there is not exactly one face in it, and what `decode` raises.
    """
    watch = Stopwatch()
    for run in range(WARM_UP + runs):
        if run == WARM_UP:
            watch = Stopwatch()
        with watch.stage("check"):
            _check(content, pipeline, watch)
        progress(run + 1, WARM_UP + runs)
    measured = watch.latencies()
    return measured | {"check": measured.pop("check")}


def benchmark_burst(
    contents: Sequence[bytes], pipeline: Pipeline, *, runs: int, progress: Progress = silent
) -> dict[str, Latency]:
    """Run the encoded frames of a burst through the gate's own path `runs` times after a warm-up, as `benchmark` does.

    `detect` holds alignment and quality too, `motion` consistency and motion. Raises `UnusableFace` as the gate does.
    """
    watch = Stopwatch()
    for run in range(WARM_UP + runs):
        if run == WARM_UP:
            watch = Stopwatch()
        with watch.stage("check"):
            _check_burst(contents, pipeline, watch)
        progress(run + 1, WARM_UP + runs)
    measured = watch.latencies()
    return measured | {"check": measured.pop("check")}


def pad_share(stages: Mapping[str, Latency]) -> float | None:
    """Return what PAD adds to the median time of the other networks, as a fraction of it; None without PAD."""
    if "pad" not in stages:
        return None
    return stages["pad"].median_ms / (stages["detect"].median_ms + stages["embed"].median_ms)


def living_burst(portrait: Pixels, detector: FaceDetector, frames: int) -> list[Pixels]:
    """Render a burst of a head that turns a little, so that nothing but PAD decides; raise `UnusableFace`."""
    landmarks = only_face(detector.detect(portrait)).landmarks
    rng = np.random.default_rng(0)
    return [
        photograph(moved_head(portrait, landmarks, pose), CameraSettings(), rng)
        for pose in sway(frames, yaw=6, right=0.15)
    ]


def as_frame(portrait: Pixels, width: int, height: int) -> bytes:
    """Scale a portrait to fit into a frame, fill the sides with its border pixels, encode as a camera does (JPEG)."""
    scale = min(width / portrait.shape[1], height / portrait.shape[0])
    inner_width = max(1, min(width, round(portrait.shape[1] * scale)))
    inner_height = max(1, min(height, round(portrait.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    inner = cv2.resize(portrait, (inner_width, inner_height), interpolation=method)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    right, bottom = width - inner_width - left, height - inner_height - top
    framed = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)
    buffer = io.BytesIO()
    Image.fromarray(framed.astype(np.uint8, copy=False)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _check_burst(contents: Sequence[bytes], pipeline: Pipeline, watch: Stopwatch) -> None:
    with watch.stage("decode"):
        frames = [pipeline.decode(content) for content in contents]
    last = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        watch.seconds.setdefault(stage, []).append(now - last)
        last = now

    seen = look_at(frames, pipeline.detector, pipeline.quality, pipeline.pad, lap)
    with watch.stage("embed"):
        probe = pipeline.embedder.embed(seen.sample.aligned)
    with probe, watch.stage("compare"):
        cosine(probe, probe)


def _check(content: bytes, pipeline: Pipeline, watch: Stopwatch) -> None:
    """Do what a gate check does to a photograph, in its order; the probe stands in for the enrolled template."""
    with watch.stage("decode"):
        image = pipeline.decode(content)
    with watch.stage("detect"):
        face = only_face(pipeline.detector.detect(image))
    with watch.stage("align"):
        aligned = align(image, face.landmarks)
    with watch.stage("quality"):
        assess_quality(image, face, aligned, pipeline.quality)
    if pipeline.pad is not None:
        with watch.stage("pad"):
            pipeline.pad.assess(image, face)
    with watch.stage("embed"):
        probe = pipeline.embedder.embed(aligned)
    with probe, watch.stage("compare"):
        cosine(probe, probe)
