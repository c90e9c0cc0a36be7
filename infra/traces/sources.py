"""Where traces may lie: files, the rows of a database, the memory of a process; each read piece by piece."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, MetaData, select
from sqlalchemy.exc import OperationalError

from biometrics.errors import NotReady
from infra.database.engine import READ_ONLY_OPTION

CHUNK = 8 << 20
_ROWS = 500
_KERNEL = ("[vvar", "[vsyscall")
"""The kernel's own pages, the same in every process."""


class Unreadable(Exception):
    """A source, or a part of it, could not be read; what was not looked at proves nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something to look through: of what kind, its name, its size in bytes (0 if unknown), and its bytes in order."""

    kind: str
    name: str
    size: int
    read: Callable[[], Iterator[bytes]]


def files(folder: Path, kind: str) -> Iterator[Source]:
    """Yield every regular file in a folder, or the file itself: databases, journals, logs, whatever lies there."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            yield Source(kind, str(path), found.st_size, lambda path=path: _read_file(path))  # type: ignore[misc]


def _read_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        return  # a journal that is gone holds nothing
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None


def database_tables(engine: Engine) -> Iterator[Source]:
    """Yield every table as its rows' values one after the other; what compression and TOAST hide in files shows here.

    Raises `NotReady` if the database is away.
    """
    metadata = MetaData()
    try:
        metadata.reflect(engine)
    except OperationalError:
        raise NotReady("The database is away or cannot be opened.", code="database_unavailable") from None
    for name in sorted(metadata.tables):
        yield Source("database rows", name, 0, lambda name=name: _rows(engine, metadata, name))  # type: ignore[misc]


def _rows(engine: Engine, metadata: MetaData, table: str) -> Iterator[bytes]:
    reading = engine.execution_options(**{READ_ONLY_OPTION: True})
    with reading.connect() as connection:
        query = select(metadata.tables[table]).execution_options(yield_per=_ROWS)
        for rows in connection.execute(query).partitions():
            yield b"\n".join(_as_bytes(value) for row in rows for value in row)


def _as_bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()


def process_memory(pid: int) -> Iterator[Source]:
    """Yield the memory of a process that holds its data: what is writable, and what comes from no file.

    Raises `NotReady` if there is no such process or it may not be read: the service forbids it to all but root.
    """
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except FileNotFoundError:
        raise NotReady("There is no such process.", code="no_process") from None
    except PermissionError:
        raise NotReady("Only root may read this process's memory.", code="process_unreadable") from None
    os.close(descriptor)
    for line in maps.splitlines():
        addresses, rights, _offset, _device, inode, *name = line.split(maxsplit=5)
        label = name[0].strip() if name else "anonymous"
        if "r" not in rights or ("w" not in rights and inode != "0") or label.startswith(_KERNEL):
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        label = f"process {pid}, {label} at {start:#x}"
        yield Source("memory", label, end - start, lambda start=start, end=end: _read_memory(pid, start, end))  # type: ignore[misc]


def _read_memory(pid: int, start: int, end: int) -> Iterator[bytes]:
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            while start < end:
                memory.seek(start)
                chunk = memory.read(min(CHUNK, end - start))
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
    except OSError:
        if _still_there(pid, start):
            raise Unreadable("memory that cannot be read") from None


def _still_there(pid: int, address: int) -> bool:
    """Say whether an address is still mapped: a running program gives memory back, and that holds nothing then."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    ranges = ((int(low, 16), int(high, 16)) for low, high in (line.split()[0].split("-") for line in lines))
    return any(low <= address < high for low, high in ranges)
