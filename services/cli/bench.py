"""`dwarpal bench`: how long each stage of a gate check takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liveness.cue import FEWEST_FRAMES, MOST_FRAMES
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from biometrics.types import Pixels
    from evaluation.benchmark import Latency

FRAMES = ((640, 480), (1280, 720))
"""Width and height of the frames that gate cameras commonly send."""


def bench(
    image: Annotated[
        Path | None, typer.Option(help="A photograph with one face; else scikit-image's astronaut.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Measured runs for each frame size.")] = 50,
    burst: Annotated[
        int, typer.Option(min=FEWEST_FRAMES, max=MOST_FRAMES, help="Frames of the bursts that are also measured.")
    ] = 5,
    as_json: AsJson = False,
) -> None:
    """Milliseconds of each stage of a gate check, median and 95th percentile, and what PAD adds to the networks' time.

    For one image and for a burst, whose frames are rendered from the portrait.
    """
    import functools
    import os

    from biometrics.decoding import decode_image
    from biometrics.quality import QualityPolicy
    from evaluation.benchmark import Pipeline, as_frame, benchmark, benchmark_burst, living_burst, pad_share
    from evaluation.report import as_json as plain
    from infra.settings import Settings
    from services.bootstrap import build_networks
    from services.cli import figures

    settings = Settings()
    decode = functools.partial(decode_image, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    portrait = _astronaut() if image is None else decode(image.read_bytes())
    networks = build_networks(settings)
    quality = QualityPolicy(min_face_pixels=settings.farthest_face_pixels)
    pipeline = Pipeline(decode, networks.detector, networks.embedder, networks.pad, quality)
    moving = living_burst(portrait, networks.detector, burst)
    measured: dict[str, dict[str, Latency]] = {}
    for width, height in FRAMES:
        name = f"{width}x{height}"
        with progress_bar(name) as progress:
            measured[name] = benchmark(as_frame(portrait, width, height), pipeline, runs=runs, progress=progress)
        with progress_bar(f"{name}, {burst} frames") as progress:
            frames = [as_frame(frame, width, height) for frame in moving]
            measured[f"{name} x {burst}"] = benchmark_burst(frames, pipeline, runs=runs, progress=progress)
    shares = {name: pad_share(stages) for name, stages in measured.items()}
    cores = os.cpu_count() or 1
    if as_json:
        shown = {name: {stage: plain(one) for stage, one in stages.items()} for name, stages in measured.items()}
        print_json({"cores": cores, "runs": runs, "providers": networks.providers, "frames": shown, "pad_adds": shares})
    else:
        figures.show_latencies(measured, networks.providers, shares, runs=runs, cores=cores)


def _astronaut() -> Pixels:
    """Return the public-domain portrait that scikit-image carries."""
    import importlib.util

    import numpy as np

    if importlib.util.find_spec("skimage") is None:
        raise CommandFailed("scikit-image is not installed: name a photograph with --image.")
    from skimage import data

    astronaut: Callable[[], Pixels] = data.astronaut
    return np.asarray(astronaut(), dtype=np.uint8)
