"""`dwarpal evaluate bursts`: what the gate makes of several frames, and what one frame alone would have told it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import read_labels
from liveness.cue import FEWEST_FRAMES, MOST_FRAMES
from services.cli.measuring import Images, image_loader
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from evaluation.bursts import Tally

COLUMNS = "image,label and optionally species,subject,domain"


def bursts(
    labels_csv: Annotated[Path, typer.Argument(metavar="LABELS.csv", help=f"Columns {COLUMNS}.")],
    images: Images,
    frames: Annotated[int, typer.Option(min=FEWEST_FRAMES, max=MOST_FRAMES, help="Frames of a burst.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Suspected attacks by cue among consecutive frames, and in motion rendered from the set's faces."""
    presentations = read_labels(labels_csv)

    from biometrics.quality import QualityPolicy
    from evaluation.bursts import burst_report
    from evaluation.images import open_images
    from evaluation.report import as_json as plain
    from infra.models import build_detector, build_pad
    from infra.settings import Settings

    settings = Settings()
    with open_images(images) as source, progress_bar("bursts") as progress:
        report = burst_report(
            presentations,
            image_loader(source, settings),
            detector=build_detector(settings),
            pad=build_pad(settings),
            quality=QualityPolicy(min_face_pixels=settings.farthest_face_pixels),
            size=frames,
            progress=progress,
        )
    if as_json:
        print_json(plain(report))
        return
    say(f"Bursts of {report.size} consecutive frames; suspected among those with a usable face")
    parts = (("first frame alone", report.single), ("burst", report.burst), ("rendered motion", report.rendered))
    print_table(
        ("judged", "of", "bursts", "unusable", "suspected", "95 % interval", "cues"),
        [_row(what, kind, tally) for what, tallies in parts for kind, tally in tallies.items()],
    )


def _row(what: str, kind: str, tally: Tally) -> tuple[str, ...]:
    judged = tally.n - tally.unusable
    rate = f"{tally.suspected} of {judged}" + (f" = {tally.suspected / judged:.1%}" if judged else "")
    cues = ", ".join(f"{cue} {count}" for cue, count in tally.by_cue.items()) or "-"
    return what, kind, str(tally.n), str(tally.unusable), rate, f"{tally.ci95.low:.1%} to {tally.ci95.high:.1%}", cues
