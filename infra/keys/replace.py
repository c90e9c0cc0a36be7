"""Replacing a small secret file so that a crash leaves the old content or the new, and the old bytes are overwritten.

A file `x` has two companions: `x.new`, half written, and `x.old`, a second name of the content being replaced, under
which it is overwritten once `x` is safely the new content. `tidy` finishes what a crash interrupted. Callers hold a
lock.

Overwriting in place reaches the old bytes on a magnetic disk with a file system that writes in place. A solid-state
disk, a journal that holds data, copy-on-write file systems and snapshots may keep them; the content must therefore be
encrypted, and a site that needs more keeps its keys in a key service instead of a file.
"""

from __future__ import annotations

import os
from pathlib import Path

MODE = 0o600


def replace_file(path: Path, content: bytes) -> None:
    """Make `content` the content of `path`, durably, with mode 0600, and overwrite what was there before."""
    tidy(path)
    new, old = _companions(path)
    _write_new(new, content)
    if path.exists():
        os.link(path, old)
    new.rename(path)
    _sync_folder(path.parent)
    destroy_file(old)


def tidy(path: Path) -> None:
    """Remove what an interrupted `replace_file` left beside `path`."""
    new, old = _companions(path)
    destroy_file(new)
    if old.exists() and path.exists() and old.samefile(path):
        old.unlink()  # the crash came before the rename: this is a second name of the content in use
        _sync_folder(path.parent)
    destroy_file(old)


def destroy_file(path: Path) -> None:
    """Overwrite a file's content and remove it; does nothing if there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(bytes(os.fstat(descriptor).st_size))
        file.flush()
        os.fsync(descriptor)
    path.unlink()
    _sync_folder(path.parent)


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".new"), path.with_name(path.name + ".old")


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
