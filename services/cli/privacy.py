"""`dwarpal privacy`: see for yourself what a thief gets."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import ExitCode
from services.cli.output import print_json, print_table, progress_bar, say
from services.cli.privacy_scan import scan

if TYPE_CHECKING:
    from services.purge_benchmark import PurgeFigures

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


@app.command()
def bench(
    templates: Annotated[int, typer.Option(min=100, max=1_000_000, help="So many expire at once.")] = 100_000,
    database_url: Annotated[
        str, typer.Option(help="An empty PostgreSQL database to fill; else SQLite in a temporary folder.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Seconds to forget many travellers at once, and how long gates wait meanwhile; exit code 1 if any of them stays.

    What it puts into a named database remains there.
    """
    from infra.settings import Settings
    from services.purge_benchmark import benchmark_purge

    with progress_bar("Filling, then erasing") as progress:
        figures = benchmark_purge(Settings(), templates=templates, database_url=database_url, progress=progress)
    if as_json:
        print_json(asdict(figures) | {"nothing_left": figures.nothing_left})
    else:
        _show_purge(figures)
    raise typer.Exit(ExitCode.OK if figures.nothing_left else ExitCode.NEGATIVE)


def _show_purge(figures: PurgeFigures) -> None:
    say(
        f"{figures.database}: {figures.templates} templates of {figures.epochs} epochs erased in"
        f" {figures.purge_seconds:.1f} s ({figures.templates_per_second:.0f}/s),"
        f" {figures.memory_growth_mib:.0f} MiB more memory at most; filled in {figures.fill_seconds:.0f} s."
    )
    print_table(
        ("a gate's transaction, ms", "checks", "refused", "median", "p95", "p99", "longest"),
        [
            (
                name,
                waits.checks,
                waits.refused,
                *(f"{ms:.1f}" for ms in (waits.median, waits.p95, waits.p99, waits.longest)),
            )
            for name, waits in (("alone", figures.gates_alone), ("beside the purge", figures.gates_beside_the_purge))
        ],
    )
    say(
        f"Left: {figures.rows_left} rows, {figures.gallery_left} in galleries, {figures.keys_left} keys;"
        f" the log {'verifies' if figures.log_verifies else 'DOES NOT VERIFY'}."
    )
