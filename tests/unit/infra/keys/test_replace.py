"""Replacing a secret file: after a crash anywhere, the old content or the new, and nothing beside it."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.keys.replace import replace_file, tidy

OLD, NEW = b"old" * 400, b"new" * 500

CRASH = """
import os, sys
from pathlib import Path
from infra.keys.replace import replace_file
left = int(sys.argv[2])
def hook(event, _):
    global left
    if event in ("open", "os.link", "os.rename", "os.remove"):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(hook)
replace_file(Path(sys.argv[1]), b"new" * 500)
"""


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_mode_and_company(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content in (OLD, NEW):
        replace_file(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]


def test_old_bytes_are_overwritten_under_an_open_name(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    replace_file(path, OLD)
    with path.open("rb") as before:
        replace_file(path, NEW)
        assert before.read() == bytes(len(OLD))


@given(cut=st.integers(0, len(NEW) + 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_write_cut_at_any_byte_leaves_old_or_new(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "secret"
    replace_file(path, OLD)
    try:
        with largest_file(cut):
            replace_file(path, NEW)
    except OSError:
        assert cut < len(NEW)
    tidy(path)
    assert path.read_bytes() == (OLD if cut < len(NEW) else NEW)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", range(12))
def test_a_process_killed_at_any_step_leaves_old_or_new(tmp_path: Path, step: int) -> None:
    path = tmp_path / "secret"
    replace_file(path, OLD)
    ended = subprocess.run([sys.executable, "-c", CRASH, str(path), str(step)], check=False)
    assert ended.returncode in (0, 9)
    assert (ended.returncode == 0) == (step == 11), "the number of steps changed: adapt the range"
    tidy(path)
    assert path.read_bytes() in ((NEW,) if ended.returncode == 0 else (OLD, NEW))
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "secret", tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "secret.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        replace_file(path, NEW)
    assert victim.read_bytes() == b"mine"
