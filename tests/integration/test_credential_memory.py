"""Issuing and opening a credential leave no template in the process's memory; a process that keeps one is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from biometrics.quantization import quantize
from infra.traces.needles import byte_needles
from infra.traces.scan import scan
from infra.traces.sources import process_memory
from tests.factories import make_template

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read through /proc")

PROGRAM = """
import sys
from biometrics.credentials import StatusPlace
from biometrics.quantization import quantize
from biometrics.records import Purpose
from infra.credentials.jose import decrypt
from infra.credentials.journey import SiteCredentials
from tests.factories import make_template
from tests.fakes import FakeKeyStore

site, kept = SiteCredentials(FakeKeyStore(), "test.example"), []
for index in range(20):
    with make_template(11) as template:
        text = site.issue(
            template, place=StatusPlace(500000, index), purposes=frozenset({Purpose.ENTRY}), flight="AI302",
            model_digest="ab" * 32,
        )
    credential = site.read(text)
    with site.open(credential):
        pass
{keep}
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(keep: str) -> Iterator[int]:
    program = [sys.executable, "-c", PROGRAM.replace("{keep}", keep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdin and child.stdout
        assert child.stdout.readline() == b"ready\n"
        yield child.pid
        child.stdin.close()


@pytest.mark.parametrize(
    ("keep", "found"),
    [("", False), ("kept = decrypt(credential.sealed, site._gate_key(500000))", True)],
    ids=["forgotten", "kept"],
)
def test_a_gate_forgets_what_it_decrypted(keep: str, found: bool) -> None:
    needles = byte_needles(bytes(quantize(make_template(11))), "template, int8")
    with process(keep) as pid:
        report = scan(process_memory(pid), needles)
    assert not report.unread
    assert report.looked_at["memory"].bytes > 2**20
    traces = [trace for trace in report.found if trace.what == "template, int8"]
    assert bool(traces) is found
