"""`dwarpal bench`: how long each stage of a gate check takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    as_json: AsJson = False,
) -> None:
    """Milliseconds of each stage of a gate check, median and 95th percentile."""
    import functools
    import os

    from biometrics.decoding import decode_image
    from biometrics.quality import QualityPolicy
    from evaluation.benchmark import Pipeline, as_frame, benchmark
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
    measured: dict[str, dict[str, Latency]] = {}
    for width, height in FRAMES:
        name = f"{width}x{height}"
        with progress_bar(name) as progress:
            measured[name] = benchmark(as_frame(portrait, width, height), pipeline, runs=runs, progress=progress)
    cores = os.cpu_count() or 1
    if as_json:
        frames = {name: {stage: plain(one) for stage, one in stages.items()} for name, stages in measured.items()}
        print_json({"cores": cores, "runs": runs, "providers": networks.providers, "frames": frames})
    else:
        figures.show_latencies(measured, networks.providers, runs=runs, cores=cores)


def _astronaut() -> Pixels:
    """Return the public-domain portrait that scikit-image carries."""
    import importlib.util

    import numpy as np

    if importlib.util.find_spec("skimage") is None:
        raise CommandFailed("scikit-image is not installed: name a photograph with --image.")
    from skimage import data

    astronaut: Callable[[], Pixels] = data.astronaut
    return np.asarray(astronaut(), dtype=np.uint8)
