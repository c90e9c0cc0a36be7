"""`dwarpal evaluate unlinkability`: what two stolen galleries or databases tell about who is in both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Embedder, Face, Images, embed_images, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from services.unlinkability import UnlinkabilityReport


THIEF_FMR = 1e-3


def unlinkability(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    face: Face = FacePolicy.CENTER,
    plot: Annotated[Path | None, typer.Option(help="Also draw the distributions to this .svg, .png or .pdf.")] = None,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """D_sys of plain, rotated and sealed templates, and how many known pairs undo a rotation."""
    from services.cli.drawing import check_plot_path

    if plot is not None:
        check_plot_path(plot)
    pairs = read_pairs(pairs_csv)

    from infra.models import build_embedder
    from services.unlinkability import measure_unlinkability

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = dict.fromkeys(name for pair in pairs for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, network, aligned=False, face=face, what="photographs")
    [threshold] = [point.threshold for point in network.card.operating_points if point.rate == THIEF_FMR]
    report = measure_unlinkability(pairs, acquired, threshold=threshold)
    if plot is not None:
        from services.cli.plots import draw_unlinkability

        draw_unlinkability(report, plot)
    if as_json:
        print_json({"embedder": network.card.name, **report.as_json()})
    else:
        _show(report)


def _show(report: UnlinkabilityReport) -> None:
    from services.unlinkability import SAME_CAPTURE

    print_table(
        ("templates in two places", "D_sys", "labels shuffled: mean", "95th percentile"),
        [
            (name, f"{of.d_sys:.3f}", f"{of.shuffled:.3f}", f"{of.shuffled_p95:.3f}")
            for name, of in report.protections.items()
        ],
    )
    floor, draws = report.protections[SAME_CAPTURE].shuffled_p95, report.draws
    above = sum(draw > floor for draw in draws)
    say(
        f"{SAME_CAPTURE}, {len(draws)} pairs of rotations: {draws[0]:.3f} to {draws[-1]:.3f}, "
        f"mean {sum(draws) / len(draws):.3f}, {above} above {floor:.3f}."
    )
    print_table(
        ("known pairs", "same template known", "another photograph known"),
        [(row.pairs, f"{row.exact:.1%}", f"{row.other:.1%}") for row in report.known_pairs],
    )
    most = f"{report.most:.1%}"
    say(f"Share of {report.n_targets} other travellers whom a thief then recognizes; without rotation {most}.")
