"""`dwarpal rights`: which requests of travellers are open, and which are overdue."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.options import AsJson, DataDir, storage_for
from services.cli.outcome import ExitCode
from services.cli.output import print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Requests for access, correction, erasure, grievance and nomination.")

_COLUMNS = ("id", "kind", "state", "received_at", "due_at", "closed_at")
_PAGE = 1000


@app.command("list")
def list_requests(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also closed requests, until they are deleted.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only overdue ones; exit code 1 if there is any.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List requests without their words, the earliest due date first; state `overdue` says that time has run out."""
    from enrollment.rights_request import RightsRequest, RightsState

    storage = storage_for(context, data_dir)
    now = storage.now()
    requests: list[RightsRequest] = []
    with storage.reading() as unit:
        while page := unit.rights.page(len(requests), _PAGE, open_only=not everything):
            requests += page
    shown = [
        (r.id, r.kind.value, r.state_at(now).value, r.received_at, r.due_at, r.closed_at)
        for r in requests
        if not overdue or r.state_at(now) is RightsState.OVERDUE
    ]
    if as_json:
        print_json([dict(zip(_COLUMNS, row, strict=True)) for row in shown])
    else:
        print_table(_COLUMNS, shown)
    if overdue and shown:
        raise typer.Exit(ExitCode.NEGATIVE)
