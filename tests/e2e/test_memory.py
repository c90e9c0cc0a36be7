"""The serving process's memory holds nothing of a capture after a check, nor of a traveller after an erasure."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from biometrics.alignment import align
from biometrics.capture import center_face
from biometrics.decoding import decode_image
from biometrics.records import TravelToken, epoch_of
from infra.keys.file_store import FileKeyStore
from infra.models import build_detector, build_embedder
from infra.settings import Settings
from services.cli.main import app
from tests.e2e.conftest import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read through /proc")

START_OF_SCAN = b"\xff\xda"
"""What follows is the picture's own; what stands before it, tables and all, is in many JPEG files and libraries."""


def write_canaries(folder: Path, jpeg: bytes) -> list[Path]:
    """Write all that one capture becomes on its way: its file, its pixels, its aligned face, its template."""
    settings = Settings(data_dir=folder / "none")
    image = decode_image(jpeg, max_bytes=2**24, max_pixels=2**24)
    aligned = align(image, center_face(build_detector(settings).detect(image), image.shape).landmarks)
    contents = {"capture": jpeg[jpeg.index(START_OF_SCAN) :], "pixels": image.tobytes(), "aligned": aligned.tobytes()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    np.save(folder / "template.npy", build_embedder(settings).embed_many([aligned]))
    return [*(folder / name for name in contents), folder / "template.npy"]


def canaries_found(server: Server, canaries: list[Path]) -> dict[str, object]:
    """Scan files, rows and the server's memory; return what was found of the canaries, and how much was looked at."""
    assert server._process is not None
    command = ["privacy", "scan", "--pid", str(server._process.pid), "--json"]
    options = [option for canary in canaries for option in ("--canary", str(canary))]
    done = CliRunner().invoke(app, [*command, *options], env=server.env)
    assert done.stdout, done.output
    report = json.loads(done.stdout)
    assert report["unread"] == {}
    assert report["looked_at"]["memory"]["bytes"] > 2**26
    return {trace["what"]: trace["source"] for trace in report["found"] if not trace["what"].endswith("picture")}


@pytest.mark.privacy_row("memory_dump")
@pytest.mark.privacy_row("erased_everywhere")
def test_memory_holds_nothing_after_a_check_and_after_an_erasure(
    own_server: Server, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    canaries = write_canaries(tmp_path, astronaut_jpeg)
    own_server.start()
    with own_server.site(own_server.make_keys()) as site:
        enrolled = site.enroll(astronaut_jpeg).json()
        assert site.decision(astronaut_jpeg, enrolled["travel_token"])[0] == "admit"
        assert canaries_found(own_server, canaries) == {}
        assert site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).status_code == 201
        assert site.withdraw(enrolled).status_code == 200
        assert canaries_found(own_server, canaries) == {}


def holders_of(server: Server, secrets: dict[str, bytes], folder: Path) -> set[str]:
    """Return which of the secrets are in the server's memory."""
    for name, content in secrets.items():
        (folder / name).write_bytes(content)
    found = canaries_found(server, [folder / name for name in secrets])
    return {name for name in secrets if f"bytes of {name}" in found}


def secrets_of(server: Server, enrolled: dict[str, Any]) -> dict[str, bytes]:
    """Return the keys that protect an enrollment, as the key file of the running server holds them."""
    keys = FileKeyStore(server.data_dir / "keys" / "keys.dwarpal", passphrase=None)
    epoch = epoch_of(datetime.fromisoformat(enrolled["expires_at"]))
    token = enrolled["travel_token"]
    return {
        "epoch_key": keys.epoch_key(epoch),
        "audit_key": keys.audit_key(epoch),
        "share": TravelToken.parse(token).share,
        "share_text": token.rsplit(".")[-1].encode(),
    }


@pytest.mark.privacy_row("memory_dump")
def test_memory_holds_no_key_after_its_end_and_no_share_of_its_travellers(
    own_server: Server, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    own_server.env |= {
        "DWARPAL_ENVIRONMENT": "development",
        "DWARPAL_CLOCK_FILE": str(clock),
        "DWARPAL_PURGE_INTERVAL_SECONDS": "0.2",
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
    }
    own_server.start()
    with own_server.site(own_server.make_keys()) as site:
        enrolled = site.enroll(astronaut_jpeg).json()
        assert site.decision(astronaut_jpeg, enrolled["travel_token"])[0] == "admit"
        assert site.client.get("/v1/me/activity", headers=site.auth(enrolled["travel_token"])).status_code == 200
        secrets = secrets_of(own_server, enrolled)
        # A key in force is there, which also shows that 32 bytes are found where they are.
        assert {"epoch_key", "audit_key"} <= holders_of(own_server, secrets, tmp_path)
        clock.write_text(str(timedelta(days=3).total_seconds()))
        while '"epochs": 1' not in own_server.log.read_text():
            sleep(0.05)
        sleep(1)  # the sweep that said so overwrites free memory next
        assert holders_of(own_server, secrets, tmp_path) == set()
