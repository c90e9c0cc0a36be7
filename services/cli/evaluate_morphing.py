"""`dwarpal evaluate morphing`: how often one face made of two people's opens a gate for both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Embedder, Face, Images, embed_images, image_loader, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from evaluation.attack_success import Success


def morphing(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    morphs: Annotated[int, typer.Option(min=1, help="Pairs of people to morph, of each kind.")] = 200,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """MMPMR: how often a morph of two people matches both of them at the gate's threshold."""
    pairs = read_pairs(pairs_csv)

    from biometrics.comparison import threshold_at
    from evaluation.images import open_images
    from infra.models import build_embedder
    from services.morphing import measure_morphing

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = dict.fromkeys(name for pair in pairs if pair.same for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, network, aligned=False, face=face, what="photographs")
    threshold = threshold_at(network.card, settings.fmr)
    with open_images(images) as source, progress_bar("morphs") as progress:
        load = image_loader(source, settings)
        report = measure_morphing(pairs, acquired, load, network, threshold=threshold, morphs=morphs, progress=progress)
    if as_json:
        print_json({"embedder": network.card.name, "fmr": settings.fmr, **report.as_json()})
        return
    print_table(
        ("morphs of", "mean cosine", "match both (MMPMR)", "of each contributor", "both, without a morph"),
        [
            (row.pairs, f"{row.mean_cosine:.2f}", _shown(row.both), _shown(row.each), _shown(row.without))
            for row in report.rows
        ],
    )
    say(f"Threshold {threshold:.3f} (FMR {settings.fmr:g}). Genuine photographs match: {_shown(report.genuine)}.")


def _shown(success: Success) -> str:
    return f"{success.rate:.1%} ({success.low:.1%} to {success.high:.1%}) of {success.trials}"
