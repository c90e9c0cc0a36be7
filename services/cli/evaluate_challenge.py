"""`dwarpal evaluate challenge`: the active challenge against honest people and eight attacks, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from biometrics.errors import MalformedInput
from services.cli.measuring import Images, image_loader
from services.cli.options import AsJson
from services.cli.output import print_json, print_table, progress_bar, remark, say

if TYPE_CHECKING:
    from evaluation.challenge_runs import KindFigures

SEED = 30107


def challenge(
    images: Images,
    photographs: Annotated[
        int, typer.Option(min=2, help="Heads are made of the so many people, one photograph each, drawn by the seed.")
    ] = 50,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each kind; by default one by each head.")] = None,
    seed: Annotated[int, typer.Option(help="What is rendered follows it; what is asked never does.")] = SEED,
    as_json: AsJson = False,
) -> None:
    """Heads rendered from photographs take the active challenge, honestly and not, at a service in this process."""
    import numpy as np

    from evaluation.challenge_runs import run_all
    from evaluation.images import open_images
    from evaluation.lifting import lift_all
    from evaluation.report import as_json as plain
    from infra.settings import Settings
    from services.bootstrap import build_networks
    from services.challenge_stage import temporary_stage

    settings, rng = Settings(), np.random.default_rng(seed)
    networks = build_networks(settings)
    with open_images(images) as source, progress_bar("photographs") as progress:
        names = source.names()
        rng.shuffle(names)
        load = image_loader(source, settings)
        heads, left_out = lift_all(
            names, load, networks.detector, networks.embedder, most=photographs, progress=progress
        )
    if len(heads) < 2:
        raise MalformedInput("Fewer than two people here look at the camera.", code="too_few_faces")
    if left_out:
        remark("photographs left out: " + ", ".join(f"{why} {count}" for why, count in left_out.items()))
    with temporary_stage(settings, networks) as stage, progress_bar("runs") as progress:
        figures = run_all(heads, stage, runs=runs or len(heads), rng=rng, progress=progress)
    if as_json:
        print_json(
            {
                "heads": len(heads),
                "left_out": dict(left_out),
                "kinds": {kind: plain(of) for kind, of in figures.items()},
            }
        )
        return
    say(f"Runs of the active challenge by heads rendered from {len(heads)} photographs, over HTTP")
    print_table(("run", "accepted", "95 % interval", "answers"), [_row(kind, of) for kind, of in figures.items()])
    if redrawn := sum(of.redrawn for of in figures.values()):
        say(f"{redrawn} videos were of the very sequence that was then asked for, and passed: drawn anew, not counted.")


def _row(kind: str, of: KindFigures) -> tuple[str, ...]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in of.reasons.items())
    return kind, f"{of.passed} of {of.runs}", f"{of.ci95.low:.1%} to {of.ci95.high:.1%}", reasons
