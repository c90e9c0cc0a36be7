"""`dwarpal evaluate`: error rates of the whole pipeline on labelled photographs (docs/evaluation.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy, read_labels, read_pairs, subjects
from services.cli.options import AsJson
from services.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from evaluation.acquisition import LoadImage
    from evaluation.images import ImageSource
    from infra.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Measure error rates on labelled photographs.")

Images = Annotated[Path, typer.Option("--images", help="Folder or zip file in which the CSV's image paths lie.")]
PAIR_COLUMNS = "image_a,image_b,same and optionally fold,subject_a,subject_b"
LABEL_COLUMNS = "image,label and optionally species,subject,domain"


@app.command()
def verification(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help=f"Columns {PAIR_COLUMNS}.")],
    images: Images,
    face: Annotated[FacePolicy, typer.Option(help="Which face of a photograph is the subject's.")] = FacePolicy.CENTER,
    cross: Annotated[bool, typer.Option("--cross", help="Also compare every photograph with every other one.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw the DET curve to this .svg, .png or .pdf file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy, TAR at FAR, EER and failures to acquire, from pairs of photographs."""
    from services.cli.det_plot import check_plot_path, draw_det

    if plot is not None:
        check_plot_path(plot)
    pairs = read_pairs(pairs_csv)
    subject_of = subjects(pairs)

    from evaluation.acquisition import acquire_all
    from evaluation.cross import cross_report
    from evaluation.images import open_images
    from evaluation.report import as_json as plain
    from evaluation.verification import report_on, score_table
    from infra.models import build_detector, build_embedder
    from infra.settings import Settings
    from services.cli import figures

    settings = Settings()
    with open_images(images) as source, progress_bar("photographs") as progress:
        acquired = acquire_all(
            (name for pair in pairs for name in (pair.image_a, pair.image_b)),
            _loader(source, settings),
            detector=build_detector(settings),
            embedder=build_embedder(settings),
            face=face,
            progress=progress,
        )
    report = report_on(pairs, acquired)
    if plot is not None:
        draw_det(score_table(pairs, acquired).curve(), max(1, report.n_non_mated), plot)
    everything = cross_report(acquired, subject_of) if cross else None
    if as_json:
        print_json(plain(report) | ({} if everything is None else {"cross": plain(everything)}))
        return
    figures.show_verification(report)
    if everything is not None:
        figures.show_cross(everything)


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
            _loader(source, settings),
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


def _loader(source: ImageSource, settings: Settings) -> LoadImage:
    """Return what reads an image under the same limits as the service."""
    from biometrics.decoding import decode_image

    max_bytes, max_pixels = settings.max_image_bytes, settings.max_image_pixels
    return lambda name: decode_image(source.read(name, max_bytes), max_bytes=max_bytes, max_pixels=max_pixels)
