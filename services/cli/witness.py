"""`dwarpal witness`: watch another site's audit log, and cosign its checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import fields, print_json, waiting
from services.cli.traveller import LOCAL, Key, Url

if TYPE_CHECKING:
    from infra.audit.rotation import LoggedRotation
    from services.cli.service import Answer

app = typer.Typer(no_args_is_help=True, help="See that another site's log only grows, and say so with a cosignature.")

Name = Annotated[str, typer.Option(help="The witness's name, such as regulator.example/w1.")]


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="The new key file; it stays with the witness.", dir_okay=False)],
    name: Name,
    as_json: AsJson = False,
) -> None:
    """Make a witness's key file, mode 0600, and print the verifier key for the site and its auditors."""
    from infra.audit.watcher import make_key

    made = {"name": name, "vkey": make_key(file, name)}
    if as_json:
        print_json(made)
    else:
        fields(made)


@app.command()
def cosign(
    key: Key,
    name: Name,
    vkey: Annotated[str, typer.Option(help="The site's verifier key, from a source other than its service.")],
    key_file: Annotated[Path, typer.Option(help="What `witness keygen` made.", exists=True, dir_okay=False)],
    memory: Annotated[Path, typer.Option(help="File of what was seen last; it must not be lost.", dir_okay=False)],
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Fetch the site's checkpoint, see that it extends what was seen before, and leave the cosignature there."""
    from infra.audit.checkpoint import parse_checkpoint
    from infra.audit.watcher import Watcher
    from infra.keys.pem_file import read_key
    from services.cli.service import Service

    watcher = Watcher(name, read_key(key_file), vkey=vkey, memory=memory)
    with Service(url) as service, waiting("Watching"):

        def prove(old: int, new: int) -> list[bytes]:
            query: dict[str, str | int] = {"old_size": old, "tree_size": new}
            return _hashes(_done(service.get("/v1/audit/proofs/consistency", key=key, query=query)))

        rotations = _rotations(_done(service.get("/v1/audit/keys")))
        note = _done(service.get("/v1/audit/checkpoint")).content.decode(errors="replace")
        cosigned = watcher.cosign(note, prove, int(datetime.now(UTC).timestamp()), rotations=rotations)
        _done(service.post_text("/v1/audit/cosignatures", cosigned, key=key))
    seen = {"site": parse_checkpoint(note).origin, "size": parse_checkpoint(note).size, "witness": name}
    if as_json:
        print_json(seen)
    else:
        fields(seen)


def _done(answer: Answer) -> Answer:
    """Return an answer that did what was asked; raise `CommandFailed` with the service's own words otherwise."""
    if answer.ok:
        return answer
    detail = answer.text("detail") or f"The service answered with status {answer.status}."
    code = ExitCode.UNAVAILABLE if answer.status == 429 or answer.status >= 500 else ExitCode.NEGATIVE
    raise CommandFailed(f"{detail} ({answer.text('code') or answer.status})", code)


def _hashes(answer: Answer) -> list[bytes]:
    hashes = answer.body.get("hashes")
    try:
        return [bytes.fromhex(str(step)) for step in hashes] if isinstance(hashes, list) else []
    except ValueError:
        raise CommandFailed("The site's proof cannot be read.", ExitCode.UNAVAILABLE) from None


def _rotations(answer: Answer) -> list[LoggedRotation]:
    """Read the site's proofs that one signing key followed another; the watcher verifies them."""
    from infra.audit.rotation import LoggedRotation, keys_in

    found = []
    try:
        for item in answer.items("rotations"):
            leaf, hashes = str(item["leaf"]).encode("ascii"), item["hashes"]
            if (keys := keys_in(leaf)) is None or not isinstance(hashes, list):
                raise ValueError
            time, proof = datetime.fromisoformat(str(item["time"])), tuple(bytes.fromhex(str(step)) for step in hashes)
            found.append(LoggedRotation(int(str(item["index"])), time, leaf, keys, str(item["checkpoint"]), proof))
    except (KeyError, ValueError):
        raise CommandFailed("The site's keys cannot be read.", ExitCode.UNAVAILABLE) from None
    return found
