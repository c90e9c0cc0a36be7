"""`dwarpal evaluate`: error rates of the whole pipeline on labelled photographs (docs/evaluation.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.protocol import FacePolicy, read_labels, read_pairs, subjects
from services.cli.evaluate_blind import blind
from services.cli.evaluate_bursts import bursts
from services.cli.evaluate_challenge import challenge
from services.cli.evaluate_groups import groups
from services.cli.evaluate_identification import identification
from services.cli.evaluate_inversion import inversion
from services.cli.evaluate_morphing import morphing
from services.cli.evaluate_networks import networks
from services.cli.evaluate_quantization import quantization
from services.cli.evaluate_report import report
from services.cli.evaluate_robustness import robustness
from services.cli.evaluate_unlinkability import unlinkability
from services.cli.measuring import Embedder, Face, Images, embed_images, image_loader, settings_to_measure
from services.cli.options import AsJson
from services.cli.output import print_json, progress_bar
from services.cli.peers import peers

app = typer.Typer(no_args_is_help=True, help="Measure error rates on labelled photographs.")
app.command()(blind)
app.command()(bursts)
app.command()(challenge)
app.command()(groups)
app.command()(robustness)
app.command()(identification)
app.command()(inversion)
app.command()(morphing)
app.command()(networks)
app.command()(peers)
app.command()(quantization)
app.command()(unlinkability)
app.command()(report)

PAIR_COLUMNS = "image_a,image_b,same and optionally fold,subject_a,subject_b"
LABEL_COLUMNS = "image,label and optionally species,subject,domain"


@app.command()
def verification(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help=f"Columns {PAIR_COLUMNS}.")],
    images: Images,
    face: Face = FacePolicy.CENTER,
    cross: Annotated[bool, typer.Option("--cross", help="Also compare every photograph with every other one.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw the DET curve to this .svg, .png or .pdf file.")] = None,
    roc: Annotated[Path | None, typer.Option(help="Also draw the ROC curve to this .svg, .png or .pdf file.")] = None,
    score_file: Annotated[Path | None, typer.Option(help="Also write each pair's score to this CSV file.")] = None,
    embedder: Embedder = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, TAR at FAR, EER and failures to acquire, from pairs of photographs."""
    from services.cli.drawing import check_plot_path
    from services.cli.plots import draw_det, draw_roc

    for path in filter(None, (plot, roc)):
        check_plot_path(path)
    pairs = read_pairs(pairs_csv)
    subject_of = subjects(pairs)

    from evaluation.cross import cross_report
    from evaluation.report import as_json as plain
    from evaluation.scores import score_pairs, write_score_file
    from evaluation.verification import report_on, score_table
    from infra.models import build_embedder
    from services.cli import figures

    settings = settings_to_measure(embedder)
    acquired = embed_images(
        (name for pair in pairs for name in (pair.image_a, pair.image_b)),
        images,
        settings,
        build_embedder(settings, by_path=True),
        aligned=False,
        face=face,
        what="photographs",
    )
    report = report_on(pairs, acquired)
    if plot is not None:
        draw_det(score_table(pairs, acquired).curve(), report.n_non_mated, plot)
    if roc is not None:
        draw_roc(score_table(pairs, acquired).curve(), report.n_non_mated, roc)
    if score_file is not None:
        write_score_file(score_file, score_pairs(pairs, acquired))
    everything = cross_report(acquired, subject_of) if cross else None
    if as_json:
        print_json(plain(report) | ({} if everything is None else {"cross": plain(everything)}))
        return
    figures.show_verification(report)
    if everything is not None:
        figures.show_cross(everything)


@app.command()
def scores(
    score_csv: Annotated[Path, typer.Argument(metavar="SCORES.csv", help="Written by `verification --score-file`.")],
    plot: Annotated[Path | None, typer.Option(help="Also draw the DET curve to this .svg, .png or .pdf file.")] = None,
    roc: Annotated[Path | None, typer.Option(help="Also draw the ROC curve to this .svg, .png or .pdf file.")] = None,
    as_json: AsJson = False,
) -> None:
    """The figures of `verification` again, from a score file: no image is touched."""
    from services.cli.drawing import check_plot_path
    from services.cli.plots import draw_det, draw_roc

    for path in filter(None, (plot, roc)):
        check_plot_path(path)

    from evaluation.report import as_json as plain
    from evaluation.scores import read_score_file
    from evaluation.verification import report_on_scores
    from services.cli import figures

    scored = read_score_file(score_csv)
    report = report_on_scores(scored.pairs, scored.scores, scored)
    if plot is not None:
        draw_det(scored.table().curve(), report.n_non_mated, plot)
    if roc is not None:
        draw_roc(scored.table().curve(), report.n_non_mated, roc)
    if as_json:
        print_json(plain(report))
    else:
        figures.show_verification(report)


@app.command()
def liveness(
    labels_csv: Annotated[Path, typer.Argument(metavar="LABELS.csv", help=f"Columns {LABEL_COLUMNS}.")],
    images: Images,
    score_file: Annotated[Path | None, typer.Option(help="Also write each image's score to this CSV file.")] = None,
    as_json: AsJson = False,
) -> None:
    """APCER by attack species, BPCER, BPCER20, ACER and EER, from labelled presentations."""
    presentations = read_labels(labels_csv)

    from evaluation.images import open_images
    from evaluation.liveness import assess_all, liveness_report, write_scores
    from evaluation.report import as_json as plain
    from infra.models import build_detector, build_pad
    from infra.settings import Settings
    from services.cli import figures

    settings = Settings()
    with open_images(images) as source, progress_bar("presentations") as progress:
        assessed = assess_all(
            presentations,
            image_loader(source, settings),
            detector=build_detector(settings),
            pad=build_pad(settings),
            progress=progress,
        )
    if score_file is not None:
        write_scores(score_file, assessed)
    report = liveness_report(assessed)
    if as_json:
        print_json(plain(report))
    else:
        figures.show_liveness(report)


@app.command()
def detector(
    reference_npz: Annotated[
        Path, typer.Argument(metavar="REFERENCE.npz", help="Written by training.reference_mtcnn.")
    ],
    images: Images,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many photographs.")] = None,
    as_json: AsJson = False,
) -> None:
    """How far our face detector agrees with a reference's findings."""
    from evaluation.detectors import Reference, compare_detectors
    from evaluation.report import as_json as plain
    from infra.models import build_detector
    from infra.settings import Settings
    from services.cli import figures
    from services.cli.output import waiting

    reference = Reference.load(reference_npz)
    with waiting("Detecting faces"):
        comparison = compare_detectors(images, reference, build_detector(Settings()), limit=limit)
    if as_json:
        print_json(plain(comparison))
    else:
        figures.show_detector(comparison)
