"""`dwarpal evaluate networks`: which network to serve, by accuracy, time and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Face, Images, embed_images
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from biometrics.card import ModelCard
    from evaluation.networks import NetworkReport

COLUMNS = ("network", "ms", "params", "MB", "accuracy", "95 %", "TAR@0.1%", "all: @0.1%")


def networks(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    cards: Annotated[list[str], typer.Argument(metavar="CARD...", help="Names of model cards, or paths (.json).")],
    images: Images,
    face: Face = FacePolicy.CENTER,
    runs: Annotated[int, typer.Option(min=1, help="Faces embedded one at a time by each network.")] = 200,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw error over time to this .svg, .png or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, time and size of several networks on the same faces."""
    from services.cli.drawing import check_plot_path

    if plot is not None:
        check_plot_path(plot)
    pairs = read_pairs(pairs_csv)

    from evaluation.networks import Together, embedding_times, reports_on
    from evaluation.report import as_json as plain
    from infra.models import build_embedder, find_card, site_folder
    from infra.settings import Settings
    from services.cli.plots import draw_networks

    settings = Settings()
    found = [find_card("embedder", card, site_folder(settings), by_path=True) for card in cards]
    sizes = [(folder / card.file).stat().st_size for card, folder in found]
    embedders = [build_embedder(settings.model_copy(update={"embedder": card}), by_path=True) for card in cards]
    latencies = embedding_times(embedders, runs=runs)
    together = Together(embedders)
    names = (name for pair in pairs for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, together, aligned=False, face=face, what="photographs")
    reports = reports_on(pairs, list(together.apart(acquired)), latencies)
    labels = [card.name for card, _ in found]
    if plot is not None:
        draw_networks(dict(zip(labels, reports, strict=True)), plot)
    if as_json:
        print_json({name: plain(report) for name, report in zip(labels, reports, strict=True)})
        return
    say("Error rates in percent; TAR at a FAR of the pairs, and at an FMR of all comparisons between the photographs")
    print_table(COLUMNS, [_line(*row) for row in zip((card for card, _ in found), sizes, reports, strict=True)])
    say(f"ms: one face{', with its mirror image' if settings.embedder_flip else ''}, median of {runs}")


def _line(card: ModelCard, weight_bytes: int, report: NetworkReport) -> tuple[str, ...]:
    figures = report.verification
    interval = figures.ci95.accuracy
    crossed = next(point.tar for point in report.cross.points if point.rate == 1e-3)
    rates = (figures.tar_at_far["0.001"], crossed)
    return (
        card.name,
        f"{report.embed.median_ms:.1f}",
        f"{card.parameters / 1e6:.1f} M",
        f"{weight_bytes / 1e6:.1f}",
        _percent(figures.accuracy),
        "-" if interval is None else f"{_percent(interval.low)}-{_percent(interval.high)}",
        *map(_percent, rates),
    )


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
