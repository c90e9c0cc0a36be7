"""Where an evaluation's photographs come from: a folder or a zip file, read into memory only."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from biometrics.errors import MalformedInput, TooLarge
from evaluation.protocol import MAX_CSV_BYTES, IndexEntry, parse_index


class ImageSource(Protocol):
    """Photographs by the path that a protocol gives."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the file; raise `MalformedInput` or `TooLarge`."""
        ...

    def names(self) -> list[str]:
        """Return the paths of all files that could be photographs, sorted."""
        ...


@contextmanager
def open_images(path: Path) -> Iterator[ImageSource]:
    """Open a folder or a zip file of photographs; raise `MalformedInput` if it is neither."""
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):
        raise MalformedInput("The images are neither a folder nor a zip file.") from None
    with archive:
        yield _Archive(archive)


def index_in(source: ImageSource) -> list[IndexEntry]:
    """Read the `index.csv` that lies beside a set's images; raise `MalformedInput` if it is missing or wrong."""
    try:
        return parse_index(source.read("index.csv", MAX_CSV_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise MalformedInput("The index.csv is not UTF-8 text.") from None


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str, max_bytes: int) -> bytes:
        path = self._root / name
        try:
            if path.is_file():  # the size of a folder means nothing
                _refuse_larger(path.stat().st_size, max_bytes)
            return path.read_bytes()
        except OSError:
            raise MalformedInput("The image is missing or cannot be read.") from None

    def names(self) -> list[str]:
        found = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
        return sorted(name for name in found if _could_be_photograph(name))


class _Archive:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def read(self, name: str, max_bytes: int) -> bytes:
        try:
            # The size comes from the archive's directory; reading stops there even if the stream goes on.
            _refuse_larger(self._archive.getinfo(name).file_size, max_bytes)
            return self._archive.read(name)
        except (KeyError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError):
            raise MalformedInput("The image is missing or cannot be read.") from None

    def names(self) -> list[str]:
        return sorted(name for name in self._archive.namelist() if _could_be_photograph(name))


def _could_be_photograph(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))


def _refuse_larger(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge("The image has too many bytes.")
