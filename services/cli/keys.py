"""`dwarpal keys`: make, list and revoke the keys of callers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from services.cli.options import AsJson, DataDir, storage_for
from services.cli.outcome import CommandFailed
from services.cli.output import fields, print_json, print_table, progress_bar, say

app = typer.Typer(
    no_args_is_help=True, help="Keys of enrollers, gates, auditors, officers and admins; rotation of the site's own."
)


@app.command()
def create(
    context: typer.Context,
    role: Annotated[str, typer.Option(help="enroller, gate, auditor, officer or admin.")],
    gate: Annotated[str | None, typer.Option(help="The gate of a key of the role gate.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its id and its text, which is never shown again."""
    from infra.api_keys import Role
    from services.administration import add_key

    if role not in set(Role):
        raise CommandFailed(f"A role is one of {', '.join(Role)}.")
    key_id, key = add_key(storage_for(context, data_dir), Role(role), gate)
    made = {"id": key_id, "key": key}
    if as_json:
        print_json(made)
    else:
        fields(made)


@app.command()
def rotate(
    context: typer.Context,
    signing: Annotated[bool, typer.Option("--signing", help="Only the key under checkpoints and receipts.")] = False,
    root: Annotated[bool, typer.Option("--root", help="Only the key that seals the key file.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Replace the site's own keys, not those of callers: by default the signing key and the root key.

    The service goes on meanwhile. With a passphrase, the root key changes to DWARPAL_KEY_PASSPHRASE_NEXT: restart the
    service with both passphrases first. The new verifier key is for auditors and witnesses to pin.
    """
    from services.rotation import rotate_root_key, rotate_signing_key

    both = signing == root
    storage = storage_for(context, data_dir)
    steps = 3 * (signing or both) + (root or both)
    told: dict[str, object] = {}
    with progress_bar("Rotating keys") as tell:
        done = iter(range(1, steps + 1))
        if root or both:
            rotate_root_key(storage)
            tell(next(done), steps)
        if signing or both:
            rotated = rotate_signing_key(storage, lambda: tell(next(done), steps))
            told |= asdict(rotated)
    told["root_key"] = "rotated" if root or both else "as it was"
    if as_json:
        print_json(told)
    else:
        fields(told)


@app.command("list")
def list_all(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, also revoked ones, without their secrets."""
    from infra.api_keys import list_keys

    with storage_for(context, data_dir).reading() as unit:
        keys = list_keys(unit.session)
    if as_json:
        print_json([asdict(key) for key in keys])
    else:
        rows = [(key.id, key.role, key.gate_id, key.created_at, key.revoked_at) for key in keys]
        print_table(("id", "role", "gate", "created", "revoked"), rows)


@app.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `keys list` shows.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key from this moment on, also in a running service."""
    from services.administration import end_key

    end_key(storage_for(context, data_dir), key_id)
    if as_json:
        print_json({"id": key_id, "revoked": True})
    else:
        say(f"{key_id} is revoked.")
