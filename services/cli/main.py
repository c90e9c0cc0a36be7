"""The command `dwarpal`. Importing this is quick: each command loads what it needs when it runs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from services.cli import (
    audit,
    blind,
    breach,
    credentials,
    evaluate,
    explain,
    gates,
    keys,
    models,
    privacy,
    rights,
    witness,
)
from services.cli.bench import bench
from services.cli.calibrate import calibrate
from services.cli.demo import demo
from services.cli.doctor import doctor
from services.cli.openapi import openapi
from services.cli.options import DataDir
from services.cli.outcome import EXIT_CODES, CommandGroup
from services.cli.output import say
from services.cli.purge import purge
from services.cli.serve import serve
from services.cli.traveller import check, enroll, withdraw

app = typer.Typer(
    name="dwarpal",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A privacy-aware face gatekeeper: consent, enroll, pass a gate, be forgotten within 24 hours, with proof.",
    epilog=EXIT_CODES,
)


def _version(wanted: bool) -> None:
    if wanted:
        say(version("dwarpal"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    data_dir: DataDir = None,
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep what stands before the command for the command."""
    context.obj = data_dir


SITE = "Run a site"
GATE = "Use a service over HTTP"
PROOF = "See for yourself"

app.command(rich_help_panel=SITE)(serve)
app.add_typer(keys.app, name="keys", rich_help_panel=SITE)
app.add_typer(gates.app, name="gates", rich_help_panel=SITE)
app.add_typer(blind.app, name="blind", rich_help_panel=SITE)
app.add_typer(rights.app, name="rights", rich_help_panel=SITE)
app.add_typer(breach.app, name="breach", rich_help_panel=SITE)
app.command(rich_help_panel=SITE)(calibrate)
app.command(rich_help_panel=SITE)(purge)
app.command(rich_help_panel=SITE)(doctor)
app.command(rich_help_panel=GATE)(enroll)
app.command(rich_help_panel=GATE)(check)
app.command(rich_help_panel=GATE)(withdraw)
app.add_typer(credentials.app, name="credentials", rich_help_panel=GATE)
app.add_typer(witness.app, name="witness", rich_help_panel=GATE)
app.command(rich_help_panel=PROOF)(demo)
app.add_typer(audit.app, name="audit", rich_help_panel=PROOF)
app.add_typer(privacy.app, name="privacy", rich_help_panel=PROOF)
app.add_typer(models.app, name="models", rich_help_panel=PROOF)
app.add_typer(evaluate.app, name="evaluate", rich_help_panel=PROOF)
app.add_typer(explain.app, name="explain", rich_help_panel=PROOF)
app.command(rich_help_panel=PROOF)(bench)
app.command(rich_help_panel=PROOF)(openapi)

if __name__ == "__main__":
    app()
