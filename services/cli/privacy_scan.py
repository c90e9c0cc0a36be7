"""`dwarpal privacy scan`: is anything of a traveller, or any picture, left where it should not be."""

from __future__ import annotations

import os
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.download_bar import download_bar
from services.cli.options import AsJson, DataDir, settings_for
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.settings import Settings
    from infra.traces.needles import Needle
    from infra.traces.scan import ScanReport
    from infra.traces.sources import Source

_SHOWN = 20


def scan(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="More files and folders to look at: logs, say."),
    ] = None,
    canary: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Look for templates in a .npy file, or any file's bytes; may be repeated.",
        ),
    ] = None,
    pid: Annotated[list[int] | None, typer.Option(min=1, help="Look at this process's memory too; repeatable.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Look for canary templates and for pictures in data folder, database, journals, logs and memory; changes nothing.

    Of PostgreSQL it reads the server's files too, which takes its own user or root on its own machine.

    Exit code 0: nothing found; 1: something was; 3: something could not be read, so that nothing is proved.
    """
    from infra.traces.scan import scan as look
    from infra.traces.sources import process_memory

    settings = settings_for(context, data_dir)
    needles = [needle for file in canary or [] for needle in _needles(file)]
    if os.getpid() in (pid or []):
        raise CommandFailed("This process holds what it looks for: name another.")
    on_disk, in_memory = _files(settings, paths or []), [source for one in pid or [] for source in process_memory(one)]
    total = sum(source.size for source in (*on_disk, *in_memory))
    # Files first: opening the database may tidy its journal away.
    sources = chain(on_disk, _database(context, settings), in_memory)
    with download_bar("Looking") as progress:
        report = look(sources, needles, progress=lambda done: progress(done, max(done, total)))
    if as_json:
        print_json({"ok": not report.traces and not report.unread, **asdict(report)})
    else:
        _show(report, canaries=len(canary or []))
    raise typer.Exit(ExitCode.NEGATIVE if report.traces else ExitCode.UNAVAILABLE if report.unread else ExitCode.OK)


def _needles(file: Path) -> list[Needle]:
    import numpy as np

    from infra.traces.needles import byte_needles, template_needles

    if file.suffix != ".npy":
        return byte_needles(file.read_bytes(), f"bytes of {file.name}")
    try:
        vectors = np.load(file, allow_pickle=False)
    except (ValueError, EOFError):
        raise CommandFailed(f"{file} is not a .npy file of numbers.") from None
    if not np.issubdtype(vectors.dtype, np.floating) or vectors.ndim not in (1, 2):
        raise CommandFailed(f"{file} holds no templates: floating-point numbers in one row or several.")
    return template_needles(vectors)


def _files(settings: Settings, paths: list[Path]) -> list[Source]:
    from infra.traces.sources import files

    sources = [*files(settings.data_dir.resolve(), "data folder")] if settings.data_dir.is_dir() else []
    for path in paths:
        sources += files(path.resolve(), "named paths")
    return sources


def _database(context: typer.Context, settings: Settings) -> Iterator[Source]:
    from infra.database.engine import build_engine
    from infra.traces.postgres import server_files
    from infra.traces.sources import database_tables

    if settings.database_url or (settings.data_dir / "dwarpal.db").exists():
        engine = build_engine(settings.effective_database_url)
        context.call_on_close(engine.dispose)
        yield from database_tables(engine)
        if engine.dialect.name == "postgresql":
            yield from server_files(engine)


def _show(report: ScanReport, *, canaries: int) -> None:
    rows = [(kind, looked.sources, f"{looked.bytes:,}") for kind, looked in report.looked_at.items()]
    print_table(("looked at", "parts", "bytes"), rows)
    for trace in report.found[:_SHOWN]:
        say(f"FOUND {trace.what}: {trace.source}, byte {trace.offset}")
    if report.traces > _SHOWN:
        say(f"... and {report.traces - _SHOWN} more")
    for name, reason in report.unread.items():
        say(f"NOT READ {name}: {reason}")
    if not report.traces:
        say(f"Found no picture{f' and nothing of {canaries} canary files' if canaries else ''}.")
