"""`dwarpal blind`: the key holder of blind matching (docs/blind-matching.md)."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import CommandFailed
from services.cli.output import fields, print_json, say, write_secret
from services.cli.serve import Host, Port, listen, url_of

app = typer.Typer(no_args_is_help=True, help="The key holder of blind matching: reads no template, answers yes or no.")

SECRET, PUBLIC, TOKEN = "secret.key", "public.key", "token"


@app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(help="A new folder for the three files.", file_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Make a key pair and the secret by which gates are let in. `secret.key` never leaves the key holder."""
    from infra.blind import make_keys

    folder.mkdir(mode=0o700, parents=True, exist_ok=False)
    secret, public = make_keys()
    write_secret(folder / SECRET, secret)
    (folder / PUBLIC).write_bytes(public)
    write_secret(folder / TOKEN, secrets.token_urlsafe(32).encode())
    made = {"secret_key": folder / SECRET, "public_key": folder / PUBLIC, "token_file": folder / TOKEN}
    if as_json:
        print_json(made)
    else:
        fields(dict(made))


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="What `blind keygen` made.", exists=True, file_okay=False)],
    lowest_cosine: Annotated[
        float, typer.Option(help="No threshold below this is answered: the gates' own, from their calibration.")
    ],
    host: Host = "127.0.0.1",
    port: Port = 8010,
) -> None:
    """Answer gates until SIGTERM or Ctrl-C; put TLS in front of any address but this machine's own."""
    import uvicorn

    from services.blind_holder import create_holder
    from services.bootstrap import forbid_core_dumps, overwrite_freed_memory

    if not 0 < lowest_cosine < 1:
        raise CommandFailed("A threshold's cosine lies between 0 and 1.")
    forbid_core_dumps()
    overwrite_freed_memory()
    secret, token = (folder / SECRET).read_bytes(), (folder / TOKEN).read_text(encoding="utf-8").strip()
    holder = create_holder(secret, token, lowest_cosine=lowest_cosine)
    with listen(host, port) as listening:
        listening.listen()  # before it says so: who asks from now on waits, and is not refused
        say(f"The key holder is ready at {url_of(listening)}")
        config = uvicorn.Config(holder, log_config=None, access_log=False, server_header=False, ws="none")
        uvicorn.Server(config).run(sockets=[listening])
