"""`dwarpal models`: the networks in the package, and whether they are what their cards say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from services.cli.options import AsJson
from services.cli.outcome import ExitCode
from services.cli.output import print_json, print_table, waiting

if TYPE_CHECKING:
    from biometrics.card import ModelCard

app = typer.Typer(no_args_is_help=True, help="The networks and their model cards.")


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the networks with their SHA-256, licence and operating points."""
    from infra.models import list_cards

    cards = [card for card, _ in list_cards()]
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
    else:
        rows = [(c.name, c.task, f"{c.parameters:,}", c.sha256[:16], _points(c)) for c in cards]
        print_table(("name", "task", "parameters", "sha256", "operating points: rate at threshold"), rows)


def _points(card: ModelCard) -> str:
    return ", ".join(f"{point.rate:g} at {point.threshold:.3f}" for point in card.operating_points)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Check every network's file against the SHA-256 in its card."""
    from infra.models import verify_all

    with waiting("Verifying the networks"):
        found = [
            {"name": card.name, "task": card.task, "sha256": card.sha256, "ok": not problem, "problem": problem or None}
            for card, problem in verify_all()
        ]
    ok = bool(found) and all(item["ok"] for item in found)
    if as_json:
        print_json({"ok": ok, "models": found})
    else:
        print_table(("name", "task", "ok", "problem"), [(f["name"], f["task"], f["ok"], f["problem"]) for f in found])
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NEGATIVE)
