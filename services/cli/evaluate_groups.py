"""`dwarpal evaluate groups`: false matches within groups of people at one common threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_index
from services.cli.measuring import Aligned, Embedder, Face, Images, embed_images, settings_to_measure
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import print_json

if TYPE_CHECKING:
    from biometrics.card import ModelCard

COLUMNS = "path,group and optionally subject"


def groups(
    index_csv: Annotated[Path, typer.Argument(metavar="INDEX.csv", help=f"Columns {COLUMNS}.")],
    images: Images,
    aligned: Aligned = False,
    fmr: Annotated[float, typer.Option(help="False-match rate of the common threshold.")] = 1e-3,
    threshold: Annotated[
        float | None, typer.Option(help="Also at this threshold, in place of the model card's for the same rate.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Also at the threshold that gives this rate in a score file; may be repeated."),
    ] = None,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """FMR within and between groups, FNMR where people come twice, and how far the groups lie apart."""
    if not 0 < fmr < 1:
        raise CommandFailed("A false-match rate lies between 0 and 1.")
    index = read_index(index_csv, required=("group",))
    elsewhere = {f"score file {path.name}": _threshold_of(path, fmr) for path in against or []}

    from evaluation.groups import group_report
    from evaluation.report import as_json as plain
    from infra.models import build_embedder
    from services.cli import figures

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = [entry.path for entry in index]
    acquired = embed_images(names, images, settings, network, aligned=aligned, face=face, what="faces")
    named = _card_point(network.card, fmr) if threshold is None else {"threshold given": threshold}
    report = group_report(index, acquired, rate=fmr, thresholds=named | elsewhere)
    if as_json:
        print_json({"embedder": network.card.name, **plain(report)})
    else:
        figures.show_groups(report)


def _threshold_of(path: Path, rate: float) -> float:
    """Return the smallest threshold whose FMR over the non-mated pairs of a score file is at most `rate`."""
    from evaluation.scores import read_score_file

    table = read_score_file(path).table()
    if len(table.non_mated) * rate < 1:
        raise CommandFailed(f"{path.name} has too few pairs of different people for a false-match rate of {rate:g}.")
    curve = table.curve()
    at = curve.at_rate(rate)
    # With so many pairs there is a threshold: the highest one accepts nothing.
    return float(curve.thresholds[-1 if at is None else at])


def _card_point(card: ModelCard, rate: float) -> dict[str, float]:
    """Return the card's threshold for a rate by its name; nothing where the card was not measured there."""
    from biometrics.comparison import threshold_at
    from biometrics.errors import ModelUnusable

    try:
        return {"model card": threshold_at(card, rate)}
    except ModelUnusable:
        return {}
