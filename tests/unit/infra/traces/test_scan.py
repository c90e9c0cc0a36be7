"""The scan sees every byte once, wherever pieces of a source end, and says what it could not see."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infra.traces.needles import LOOK_AHEAD, byte_needles
from infra.traces.scan import MOST_FINDINGS, scan
from infra.traces.sources import CHUNK, Source, Unreadable, files

CANARY = np.random.default_rng(7).bytes(32)
NEEDLES = byte_needles(CANARY, "canary")


def source(*chunks: bytes) -> Source:
    return Source("test", "a source", 0, lambda: iter(chunks))


@given(st.lists(st.integers(1, 3 * LOOK_AHEAD), max_size=4), st.integers(0, 2 * LOOK_AHEAD))
def test_a_canary_is_found_once_however_the_source_is_cut(cuts: list[int], at: int) -> None:
    data = bytes(at) + CANARY + bytes(LOOK_AHEAD // 2)
    chunks, position = [], 0
    for size in cuts:
        chunks.append(data[position : position + size])
        position += size
    report = scan([source(*chunks, data[position:])], NEEDLES)
    assert [(trace.offset, trace.what) for trace in report.found] == [(at, "canary")]
    assert report.looked_at["test"].bytes == len(data)


def test_a_canary_across_two_reads_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(bytes(CHUNK - 7) + CANARY + b"end")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/dev/zero")
    heard: list[int] = []
    report = scan(files(tmp_path, "files"), NEEDLES, progress=heard.append)
    assert [(trace.source, trace.offset) for trace in report.found] == [(str(tmp_path / "deep" / "log"), CHUNK - 7)]
    assert (report.looked_at["files"].sources, report.looked_at["files"].bytes) == (2, CHUNK + 28)
    assert heard[-1] == CHUNK + 28


def test_many_traces_are_counted_and_not_all_kept() -> None:
    report = scan([source(CANARY * (MOST_FINDINGS + 5))], NEEDLES)
    assert (report.traces, len(report.found)) == (MOST_FINDINGS + 5, MOST_FINDINGS)


def test_what_cannot_be_read_is_told_and_what_was_read_counts() -> None:
    def half() -> Iterator[bytes]:
        yield CANARY
        raise Unreadable("no rights")

    report = scan([Source("test", "half", 0, half), source(CANARY)], NEEDLES)
    assert report.unread == {"half": "no rights"}
    assert [trace.source for trace in report.found] == ["half", "a source"]


def test_a_file_that_vanished_is_no_fault(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(CANARY)
    sources = list(files(tmp_path, "files"))
    journal.unlink()
    report = scan(sources, NEEDLES)
    assert (report.traces, report.unread) == (0, {})
