"""`dwarpal evaluate quantization`: what a template loses on its way into a journey credential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_pairs
from services.cli.measuring import Embedder, Face, Images, embed_images, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from evaluation.quantization import QuantizationReport
    from evaluation.verification import VerificationReport

FMR = 1e-3


def quantization(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    face: Face = FacePolicy.CENTER,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """TAR at FMR with templates in floats and as 512 signed bytes, as a journey credential carries them."""
    pairs = read_pairs(pairs_csv)

    from biometrics.comparison import threshold_at
    from evaluation.quantization import quantization_report
    from evaluation.report import as_json as plain
    from infra.models import build_embedder

    settings = settings_to_measure(embedder)
    network = build_embedder(settings, by_path=True)
    names = dict.fromkeys(name for pair in pairs for name in (pair.image_a, pair.image_b))
    acquired = embed_images(names, images, settings, network, aligned=False, face=face, what="photographs")
    report = quantization_report(pairs, acquired, threshold=threshold_at(network.card, FMR))
    if as_json:
        print_json({"embedder": network.card.name, **plain(report)})
    else:
        _show(report)


def _show(report: QuantizationReport) -> None:
    rows = [_row("32-bit floats", report.floats), _row("8-bit integers", report.int8)]
    print_table(("template", f"TAR at FMR {FMR:.1%}", "95 % interval", "threshold", "EER"), rows)
    say(
        f"{report.floats.n_mated} mated and {report.floats.n_non_mated} non-mated pairs; the cosines differ by "
        f"{report.mean_difference:.5f} in the mean and {report.largest_difference:.5f} at most. At the model card's "
        f"threshold {report.other_decisions} pairs are decided otherwise."
    )


def _row(name: str, report: VerificationReport) -> tuple[str, ...]:
    tar, interval = report.tar_at_far[str(FMR)], report.ci95.tar_at_far[str(FMR)]
    between = "none" if interval is None else f"{interval.low:.2%} to {interval.high:.2%}"
    threshold = report.threshold[str(FMR)]
    return (
        name,
        "none" if tar is None else f"{tar:.2%}",
        between,
        "none" if threshold is None else f"{threshold:.4f}",
        "none" if report.eer is None else f"{report.eer:.2%}",
    )
