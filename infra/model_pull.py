"""Fetches a network that a list pins by URL, size and SHA-256; only a person's command does this, never the service.

A file arrives in `DATA_DIR/models/.downloads/SHA256.part`. What a broken connection left there is gone on with, if the
server can; what turns out not to be the pinned file is deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

import httpx2
from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from biometrics.errors import Conflict, MalformedInput, ModelUnusable, NotFound, NotReady, TooLarge
from infra.onnx_review import MAX_NETWORK_BYTES, InputDeclaration

MAX_REDIRECTS = 5
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Progress = Callable[[int, int | None], None]
"""Hears how many bytes are here, and how many there will be."""


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.password is not None:
        raise ValueError("an https URL without user and password")
    return url


class CatalogEntry(BaseModel):
    """One network that can be fetched: where, which bytes exactly, under which licence, and what input it wants."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    url: Annotated[str, AfterValidator(_https)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0, le=MAX_NETWORK_BYTES)
    licence_text: str = Field(min_length=1)
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    bgr: bool = False

    @property
    def declared(self) -> InputDeclaration:
        """The input as the importer takes it: whoever made the list stated it."""
        return InputDeclaration(self.mean, self.std, self.bgr, explicit=True)


class Catalog(BaseModel):
    """The list of what can be fetched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[CatalogEntry, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if len({entry.name for entry in self.models}) != len(self.models):
            raise ValueError("two networks have one name")
        return self

    @classmethod
    def load(cls, path: Path | None = None) -> Catalog:
        """Read a list, without a path the package's own; raise `MalformedInput` if it is none."""
        try:
            content = path.read_bytes() if path else files("infra").joinpath("model_catalog.json").read_bytes()
            return cls.model_validate_json(content)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise MalformedInput(f"The list of networks is wrong at: {place or 'its top'}.") from error

    def find(self, name: str) -> CatalogEntry:
        """Return the entry of a name; raise `NotFound` with the names that there are."""
        for entry in self.models:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.models) or "no network at all: give a list with --catalog"
        raise NotFound(f"The list of networks has no {name}. It has {known}.")


@dataclass(frozen=True, slots=True)
class Download:
    """One download: what is wanted, and the files in which it arrives."""

    entry: CatalogEntry
    folder: Path

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.folder / f"{self.entry.sha256}.part"

    @property
    def validator(self) -> Path:
        """What the server calls this version of the file (ETag or Last-Modified)."""
        return self.folder / f"{self.entry.sha256}.validator"

    @property
    def arrived(self) -> int:
        """Bytes so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        """Delete what has arrived."""
        self.part.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)


def fetch(entry: CatalogEntry, site: Path, *, ca_file: Path | None, progress: Progress) -> bytes:
    """Return the pinned bytes, from the server and from what an earlier attempt left; they stay until `discard`.

    Raises `NotReady` where trying again may help (unreachable, broken off), `ModelUnusable` for another file than the
    pinned one, `TooLarge` for a longer one, `Conflict` if another command is fetching it.
    """
    download = Download(entry, site / ".downloads")
    download.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with (
            FileLock(download.folder / f"{entry.sha256}.lock", timeout=0, mode=0o600),
            httpx2.Client(verify=_trust(ca_file), timeout=TIMEOUT, trust_env=False) as client,
        ):
            # What an earlier attempt left may not be what the server goes on with: then once more from the start.
            if not _continue(client, download, progress):
                download.discard()
                _continue(client, download, progress)
            return _pinned_bytes(download)
    except Timeout as error:
        raise Conflict("Another command is fetching this network.") from error


def discard(entry: CatalogEntry, site: Path) -> None:
    """Delete what was downloaded for an entry."""
    Download(entry, site / ".downloads").discard()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return what checks certificates: by the machine's authorities, or by one file's alone."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise MalformedInput("The file of certificate authorities cannot be read.") from error


def _pinned_bytes(download: Download) -> bytes:
    entry = download.entry
    if download.arrived != entry.bytes:
        raise NotReady(
            f"The download broke off after {download.arrived:,} of {entry.bytes:,} bytes: "
            "run the command again to go on."
        )
    content = download.part.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        download.discard()
        raise ModelUnusable("What the server sent is not the pinned network (SHA-256): it was deleted.")
    return content


def _continue(client: httpx2.Client, download: Download, progress: Progress) -> bool:
    """Fetch what is missing; False if it cannot be appended to what is here. A broken connection is no error yet."""
    entry, start = download.entry, download.arrived
    if start == entry.bytes:
        return True
    if start > entry.bytes:
        return False
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if download.validator.exists():
            headers["If-Range"] = download.validator.read_text("ascii")
    try:
        with _open(client, entry.url, headers) as response:
            if response.status_code == 416 or (response.status_code == 206 and not _fits(response, start, entry.bytes)):
                return False
            if response.status_code not in (200, 206):
                raise NotReady(f"The server answered {response.status_code} in place of the network.")
            if response.status_code == 200:  # the file is new, or the server knows no ranges
                _begin(response, download)
            _receive(response, download, progress)
    except httpx2.TransportError as error:
        if not download.arrived:
            raise NotReady(
                "The server cannot be reached over HTTPS, or its certificate is not trusted (--ca-file)."
            ) from error
    return True


@contextmanager
def _open(client: httpx2.Client, url: str, headers: dict[str, str]) -> Iterator[httpx2.Response]:
    """Ask for a URL, through a few redirects that all stay on HTTPS."""
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if response.status_code not in REDIRECTS:
                yield response
                return
            try:
                url = _https(str(response.url.join(response.headers.get("Location", ""))))
            except (ValueError, httpx2.InvalidURL) as error:
                raise ModelUnusable("The server sends us on to an address that is not HTTPS: refused.") from error
    raise ModelUnusable(f"The server sends us on more than {MAX_REDIRECTS} times: refused.")


def _fits(response: httpx2.Response, start: int, size: int) -> bool:
    """Say whether a partial answer begins where we stand and belongs to a file of the pinned size."""
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == start and found[3] in ("*", str(size))


def _begin(response: httpx2.Response, download: Download) -> None:
    """Start with an empty file, and keep what names this version of the server's."""
    download.discard()
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) != download.entry.bytes:
        raise ModelUnusable(
            f"The server's file has {int(length):,} bytes, the pinned network {download.entry.bytes:,}: refused."
        )
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if strong and strong.isascii():
        download.validator.touch(0o600)
        download.validator.write_text(strong, "ascii")


def _receive(response: httpx2.Response, download: Download, progress: Progress) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelUnusable("The server sends the network in a packed form that was not asked for: refused.")
    size, arrived = download.entry.bytes, download.arrived
    descriptor = os.open(download.part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        progress(arrived, size)
        for chunk in response.iter_raw():  # as they come: collecting larger ones would lose what a break cuts off
            arrived += len(chunk)
            if arrived > size:
                download.discard()
                raise TooLarge("The server sends more than the pinned network: refused.")
            file.write(chunk)
            progress(arrived, size)
