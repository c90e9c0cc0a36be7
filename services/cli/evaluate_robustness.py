"""`dwarpal evaluate robustness`: what verification loses as photographs get worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Embedder, Face, Images, image_loader, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from evaluation.protocol import Pair

SMALLEST_FACE = 20
"""Height in pixels of the smallest face that is looked for: a site that sees small faces would set the same."""


def robustness(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--conditions", help="Just this condition or family (`light`, `jpeg/q20`); may be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs of either kind.")] = None,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    farthest_face_pixels: Annotated[
        int, typer.Option(min=20, max=2000, help="Smallest face to look for, in place of DWARPAL_FARTHEST_FACE_PIXELS.")
    ] = SMALLEST_FACE,
    seed: Annotated[int | None, typer.Option(help="Of the degradations' random numbers.")] = None,
    as_json: AsJson = False,
) -> None:
    """What TAR at FAR 1 % loses to light, resolution, blur, JPEG, occlusion, pose and the age of a camera."""
    from evaluation.degradations import chosen_conditions
    from evaluation.images import open_images
    from evaluation.intervals import SEED
    from evaluation.report import as_json as plain
    from evaluation.robustness import measure_robustness
    from infra.models import build_detector, build_embedder
    from services.cli import figures

    chosen = chosen_conditions([name for given in conditions or [] for name in given.split(",")])
    pairs = read_pairs(pairs_csv)
    settings = settings_to_measure(embedder, farthest_face_pixels=farthest_face_pixels)
    network = build_embedder(settings, by_path=True)
    with open_images(images) as source, progress_bar("photographs") as progress:
        report = measure_robustness(
            pairs if limit is None else _first(pairs, limit),
            image_loader(source, settings),
            chosen,
            detector=build_detector(settings),
            embedder=network,
            face=face,
            seed=SEED if seed is None else seed,
            progress=progress,
        )
    if as_json:
        print_json(
            {"embedder": network.card.name, "farthest_face_pixels": settings.farthest_face_pixels, **plain(report)}
        )
    else:
        figures.show_robustness(report)


def _first(pairs: list[Pair], limit: int) -> list[Pair]:
    """Return the first mated and the first non-mated pairs, at most `limit` of each."""
    return [pair for same in (True, False) for pair in [p for p in pairs if p.same == same][:limit]]
