"""The scan: every source through the same window, and a report of what was looked at and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from infra.traces.needles import LOOK_AHEAD, Needle, Pieces, find_pictures
from infra.traces.sources import Source, Unreadable

MOST_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that should be gone: where, at which byte, and what it is; never the bytes themselves."""

    source: str
    offset: int
    what: str


@dataclass(slots=True)
class Looked:
    """How much of one kind of source was looked at."""

    sources: int = 0
    bytes: int = 0


@dataclass(slots=True)
class ScanReport:
    """What was looked at, by kind; what was found (the first thousand); what could not be read, with the reason."""

    looked_at: dict[str, Looked] = field(default_factory=dict)
    found: list[Trace] = field(default_factory=list)
    traces: int = 0
    unread: dict[str, str] = field(default_factory=dict)


def scan(
    sources: Iterable[Source], needles: list[Needle], *, progress: Callable[[int], None] = lambda read: None
) -> ScanReport:
    """Look through all sources for the needles and for pictures, in bounded memory; `progress` hears bytes read."""
    report, pieces = ScanReport(), Pieces(needles)
    read = 0
    for source in sources:
        looked = report.looked_at.setdefault(source.kind, Looked())
        looked.sources += 1
        window, position = b"", 0
        try:
            for chunk in source.read():
                window += chunk
                looked.bytes += len(chunk)
                read += len(chunk)
                done = max(len(window) - LOOK_AHEAD, 0)
                _look(report, source, pieces, window, position, done)
                window, position = window[done:], position + done
                progress(read)
        except Unreadable as error:
            report.unread[source.name] = str(error)
        _look(report, source, pieces, window, position, len(window))
    return report


def _look(report: ScanReport, source: Source, pieces: Pieces, window: bytes, position: int, end: int) -> None:
    """Judge every place before `end`; those after it come again with more bytes behind them."""
    if not window.strip(b"\0"):  # as most of the memory that was asked for and never used
        return
    found = [*pieces.find(window, end), *find_pictures(window, end)]
    report.traces += len(found)
    room = MOST_FINDINGS - len(report.found)
    report.found += [Trace(source.name, position + at, what) for at, what in sorted(found)[:room]]
