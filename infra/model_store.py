"""The site's own networks on disk: `DATA_DIR/models/NAME/` with the network and its card, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from biometrics.card import ModelCard
from biometrics.errors import Conflict, MalformedInput, NotFound
from infra.models import names_in_package, names_in_site

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str, site: Path) -> None:
    """Raise `MalformedInput` for what cannot be a name, `Conflict` for one that is taken, in the package or here."""
    if not NAME.fullmatch(name):
        raise MalformedInput("A network's name has up to 64 of a-z, 0-9, dot, hyphen and underscore.")
    if name in names_in_package():
        raise Conflict(f"Dwarpal brings a network of the name {name}: choose another name.", code="name_taken")
    if (site / name).exists():
        raise Conflict(f"There is a network of the name {name}: choose another name, or remove it first.")


def store_network(site: Path, card: ModelCard, content: bytes) -> None:
    """Write a network and its card, folder 0700, files 0600, in one step that happens or does not.

    Raises `Conflict` if the name is taken, also by an import that runs at the same time.
    """
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ValueError("the card describes another network")
    check_name(card.name, site)
    site.mkdir(parents=True, exist_ok=True, mode=0o700)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=site))
    try:
        _write(building / card.file, content)
        _write(building / f"{card.name}.json", (card.model_dump_json(indent=1) + "\n").encode())
        _sync(building)
        try:
            building.rename(site / card.name)
        except OSError as error:
            raise Conflict(f"There is a network of the name {card.name}: another import was quicker.") from error
        _sync(site)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def remove_network(site: Path, name: str, *, in_use: str) -> None:
    """Remove one of the site's own networks; also one whose card is damaged.

    Raises `NotFound` if there is none of this name, `Conflict` for the network that the settings name.
    """
    if name not in names_in_site(site):
        raise NotFound(f"This site has no network {name} of its own; those of the package cannot be removed.")
    if name == in_use:
        raise Conflict(f"The settings name {name} as the embedder: change DWARPAL_EMBEDDER first.", code="in_use")
    leaving = Path(tempfile.mkdtemp(prefix=".leaving-", dir=site))
    (site / name).rename(leaving / name)
    shutil.rmtree(leaving, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
