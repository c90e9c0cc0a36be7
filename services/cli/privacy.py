"""`dwarpal privacy`: see for yourself what a thief gets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import ExitCode
from services.cli.output import print_json, print_table, progress_bar, say
from services.cli.privacy_scan import scan

app = typer.Typer(no_args_is_help=True, help="See for yourself what a thief gets.")
app.command()(scan)


@app.command()
def drill(
    travellers: Annotated[int, typer.Option(min=1, max=100_000, help="So many of each way to match.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Rehearse a theft of disk and backup on a site that vanishes; exit code 1 if a template opens that must not."""
    from infra.settings import Settings
    from services.privacy_drill import drill as rehearse

    with progress_bar("thefts") as progress:
        thefts = rehearse(Settings(), travellers=travellers, progress=progress)
    ok = all(theft.as_promised for theft in thefts)
    if as_json:
        print_json({"ok": ok, "thefts": [asdict(theft) | {"as_promised": theft.as_promised} for theft in thefts]})
    else:
        print_table(
            ("taken", "matched by", "traveller's share", "opened", "as promised"),
            [
                (
                    theft.taken,
                    theft.matched,
                    "known" if theft.with_share else "unknown",
                    f"{theft.opened} of {theft.templates}",
                    "yes" if theft.as_promised else f"NO, {theft.expected}",
                )
                for theft in thefts
            ],
        )
        say("Walk-through templates open with the server's keys during their epoch: their travellers agreed to that.")
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NEGATIVE)
