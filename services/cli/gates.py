"""`dwarpal gates`: make and list gates."""

from __future__ import annotations

from typing import Annotated

import typer

from biometrics.records import Gate, Purpose
from services.cli.options import AsJson, DataDir, storage_for
from services.cli.output import fields, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Gates, each for one purpose.")


@app.command()
def create(
    context: typer.Context,
    gate_id: Annotated[
        str, typer.Argument(metavar="ID", help="Small letters, digits and hyphens, such as t3-entry-1.")
    ],
    purpose: Annotated[Purpose, typer.Option(help="What the gate checks faces for: entry, security or boarding.")],
    walk_through: Annotated[
        bool, typer.Option("--walk-through", help="The gate may also recognize travellers who show no token.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a gate."""
    from services.administration import add_gate
    from services.api.schemas import GateBody

    wanted = GateBody(id=gate_id, purpose=purpose, walk_through=walk_through)
    gate = add_gate(storage_for(context, data_dir), Gate(wanted.id, wanted.purpose, wanted.walk_through))
    if as_json:
        print_json(_shown(gate))
    else:
        fields(_shown(gate))


@app.command("list")
def list_all(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all gates."""
    with storage_for(context, data_dir).reading() as unit:
        gates = [_shown(gate) for gate in unit.gates.all()]
    if as_json:
        print_json(gates)
    else:
        print_table(("id", "purpose", "walk-through"), [tuple(gate.values()) for gate in gates])


def _shown(gate: Gate) -> dict[str, object]:
    return {"id": gate.id, "purpose": gate.purpose.value, "walk_through": gate.walk_through}
