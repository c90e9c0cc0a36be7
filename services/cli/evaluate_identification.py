"""`dwarpal evaluate identification`: 1:N figures by gallery size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.protocol import FacePolicy, read_people
from services.cli.measuring import Aligned, Embedder, Face, Images, embed_images, embed_strangers, settings_to_measure
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import print_json


def identification(
    people_csv: Annotated[
        Path, typer.Argument(metavar="INDEX.csv", help="Columns path,subject; or a file of pairs with subjects.")
    ],
    images: Images,
    aligned: Aligned = False,
    distractors: Annotated[
        list[Path] | None,
        typer.Option(help="Folder or zip file of aligned faces with an `index.csv` (path, subject); may be repeated."),
    ] = None,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", min=2, help="Templates in the gallery; may be repeated.")
    ] = None,
    fpir: Annotated[float, typer.Option(help="False-positive identification rate at which FNIR is given.")] = 0.01,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """FNIR and FPIR by gallery size, also at the thresholds that walk-through gates would use."""
    if not 0 < fpir < 1:
        raise CommandFailed("A false-positive identification rate lies between 0 and 1.")
    index = read_people(people_csv)

    from evaluation.identification import SIZES, identification_report, labelled
    from evaluation.report import as_json as plain
    from infra.models import build_embedder
    from services.cli import figures
    from verification.policy import MatchPolicy

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = [entry.path for entry in index]
    acquired = embed_images(names, images, settings, network, aligned=aligned, face=face, what="probes")
    policy = MatchPolicy(network.card, settings.fmr, settings.walk_through_fpir, settings.cosine_threshold)
    report = identification_report(
        labelled(index, acquired),
        [embed_strangers(path, settings, network) for path in distractors or []],
        sizes=sizes or SIZES,
        threshold_for=policy.walk_through,
        failed=[entry.subject or f"//{entry.path}" for entry in index if entry.path not in acquired.rows],
        fpir=fpir,
    )
    if as_json:
        print_json({"embedder": network.card.name, "policy_fpir": settings.walk_through_fpir, **plain(report)})
    else:
        figures.show_identification(report)
