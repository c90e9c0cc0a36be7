"""`dwarpal evaluate report`: one HTML file with everything that an evaluation found (docs/evaluation.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.protocol import FacePolicy
from services.cli.drawing import require_matplotlib
from services.cli.measuring import Embedder, Face
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import print_json, remark, say, write_secret

if TYPE_CHECKING:
    from evaluation.goals import Goal
    from evaluation.report import ReportFigures

Out = Annotated[
    Path, typer.Option("--out", metavar="REPORT.html", help="The report; its figures go beside it, as .json.")
]
Pairs = Annotated[
    Path | None, typer.Option("--pairs", help="CSV with image_a,image_b,same[,fold,subject_a,subject_b].")
]
Images = Annotated[Path | None, typer.Option("--images", help="Folder or zip file in which the pairs' paths lie.")]
Figures = Annotated[Path | None, typer.Option("--figures", help="Draw these figures anew instead of measuring.")]
Groups = Annotated[Path | None, typer.Option("--groups", help="CSV with path,group and optionally subject.")]
GroupImages = Annotated[Path | None, typer.Option("--group-images", help="Folder or zip file of the groups.")]
Aligned = Annotated[bool, typer.Option("--aligned", help="The images of the groups are aligned 112 x 112 faces.")]
Robustness = Annotated[bool, typer.Option("--robustness", help="Also under all simulated conditions (long).")]
Conditions = Annotated[
    list[str] | None,
    typer.Option("--conditions", help="Under just this condition or family (`light`, `jpeg/q20`); may be repeated."),
]
Distractors = Annotated[
    list[Path] | None,
    typer.Option(help="Folder or zip file of aligned faces with an `index.csv`, to fill galleries; may be repeated."),
]
Sizes = Annotated[list[int] | None, typer.Option("--size", min=2, help="Templates in a gallery; may be repeated.")]
Goals = Annotated[Path | None, typer.Option(help="JSON list of goals; else those that this project declares.")]
Listed = Annotated[int, typer.Option("--listed", min=0, help="At most so many failed pairs of each kind by id.")]
WithImages = Annotated[bool, typer.Option("--with-images", help="Put small photographs of the failed pairs into it.")]


def report(
    out: Out,
    pairs: Pairs = None,
    images: Images = None,
    figures: Figures = None,
    face: Face = FacePolicy.CENTER,
    groups: Groups = None,
    group_images: GroupImages = None,
    aligned: Aligned = False,
    robustness: Robustness = False,
    conditions: Conditions = None,
    distractors: Distractors = None,
    sizes: Sizes = None,
    embedder: Embedder = None,
    goals: Goals = None,
    listed: Listed = 50,
    with_images: WithImages = False,
    as_json: AsJson = False,
) -> None:
    """One self-contained HTML report: figures with intervals, plots, verdicts, failed pairs by id."""
    _check_out(out, figures)
    _only_together("--groups", groups, "--group-images", group_images)
    declared = None if goals is None else _goals(goals)
    if figures is not None:
        _nothing_beside_figures(
            pairs, images, groups, distractors, robustness, conditions, sizes, embedder, with_images
        )
        _draw(_redrawn(figures, declared), out, {}, as_json)
        return
    if pairs is None or images is None:
        raise CommandFailed("Name the evaluation data with --pairs and --images, or earlier figures with --figures.")

    from services.cli.report_measure import Measurement, measure, thumbnails

    named = tuple(name for given in conditions or () for name in given.split(","))
    wanted = Measurement(
        pairs_csv=pairs,
        images=images,
        face=face,
        groups=groups,
        group_images=group_images,
        aligned=aligned,
        conditions=named if robustness or named else None,
        distractors=tuple(distractors or ()),
        gallery_sizes=tuple(sizes or ()),
        embedder=embedder,
        goals=declared,
        listed=listed,
    )
    beside = out.with_suffix(".json")
    _refuse_foreign(beside)
    found = measure(wanted)

    from evaluation.report import write_figures

    write_figures(found, beside)
    remark(f"The figures are in {beside}.")
    _draw(found, out, thumbnails(found, wanted) if with_images else {}, as_json)


def _draw(figures: ReportFigures, out: Path, pictures: dict[str, str], as_json: bool) -> None:
    from evaluation.goals import judge
    from evaluation.report import measured
    from services.cli import report_words as words
    from services.cli.report_page import render

    page = render(figures, pictures).encode()
    if pictures:
        write_secret(out, page)
        remark(f"{out} holds photographs of people: only you may read it.")
    else:
        out.write_bytes(page)
    verdicts = judge(figures.goals, measured(figures))
    if as_json:
        goals = [{"figure": one.goal.figure, "outcome": one.outcome.value} for one in verdicts]
        print_json({"report": out, "goals": goals, "pictures": len(pictures)})
    else:
        say(f"{out}: {words.verdict_line(verdicts)}" if verdicts else str(out))


def _check_out(out: Path, figures: Path | None) -> None:
    """Fail early, before minutes of work, if the report cannot be written there."""
    if out.suffix != ".html":
        raise CommandFailed("A report ends with .html.")
    if not out.parent.is_dir():
        raise CommandFailed("The folder of the report does not exist.")
    if figures is not None and figures.suffix == ".html":
        raise CommandFailed("--figures is the .json file beside a report.")
    require_matplotlib()


def _refuse_foreign(beside: Path) -> None:
    """Raise rather than measure for minutes and then find a file in the way that is no report's."""
    if not beside.exists():
        return
    try:
        ours = json.loads(beside.read_bytes()).get("format") == "dwarpal-evaluation-report/1"
    except (ValueError, AttributeError):
        ours = False
    if not ours:
        raise CommandFailed(f"{beside} is something else and would be overwritten: choose another --out.")


def _only_together(first: str, one: object, second: str, other: object) -> None:
    if (one is None) != (other is None):
        raise CommandFailed(f"{first} and {second} belong together.")


def _nothing_beside_figures(*options: object) -> None:
    *measuring, with_images = options
    if with_images:
        raise CommandFailed("--with-images needs the evaluation data: figures hold no photographs.")
    if any(measuring):
        raise CommandFailed("--figures draws what was measured before: it goes with --goals and --out only.")


def _goals(path: Path) -> tuple[Goal, ...]:
    from evaluation.goals import read_goals

    return read_goals(path)


def _redrawn(path: Path, declared: tuple[Goal, ...] | None) -> ReportFigures:
    from dataclasses import replace

    from evaluation.report import read_figures

    figures = read_figures(path)
    return figures if declared is None else replace(figures, goals=declared)
