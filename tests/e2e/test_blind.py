"""Gates that compare blindly, with a key holder in a process of its own: the whole road, and the holder gone."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest

from biometrics.types import Template
from infra import blind
from tests.e2e.conftest import DWARPAL, Server, dwarpal, environment

pytestmark = pytest.mark.skipif(
    not blind.installed(), reason="the extra is not installed: pip install 'dwarpal[blind]'"
)


@dataclass
class Holder:
    """`dwarpal blind serve` as an operator starts it."""

    folder: Path
    url: str = ""
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [*DWARPAL, "blind", "serve", str(self.folder), "--lowest-cosine", "0.3", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        assert httpx2.get(f"{self.url}/healthz", trust_env=False).json() == {"status": "ok"}

    def stop(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    folder = tmp_path / "holder"
    dwarpal("blind", "keygen", str(folder), "--json", env=environment(tmp_path / "none"))
    holder = Holder(folder)
    holder.start()
    yield holder
    holder.stop()


@pytest.fixture
def blindly(holder: Holder, tmp_path: Path) -> Iterator[Server]:
    server = Server(
        tmp_path / "data",
        blind_url=holder.url,
        blind_public_key=holder.folder / "public.key",
        blind_token_file=holder.folder / "token",
    )
    server.start()
    yield server
    server.signal(signal.SIGKILL)


def test_the_road_with_gates_that_see_no_template(
    blindly: Server, holder: Holder, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    keys = blindly.make_keys()
    with blindly.site(keys) as site:
        enrolled = site.enroll(astronaut_jpeg).json()
        token = enrolled["travel_token"]
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
        assert site.decision(hopper_jpeg, token) == ("deny", "not_matched")
        refused = site.enroll(astronaut_jpeg, purposes=("entry", "walk_through"))
        assert (refused.status_code, refused.json()["code"]) == (400, "walk_through_not_offered")
        travel = {"departs_at": None}
        path = f"/v1/enrollments/{enrolled['enrollment_id']}/travel"
        assert site.client.patch(path, headers=site.auth(token), json=travel).status_code == 200
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")  # sealed anew, as it was
        holder.stop()
        answer = site.check(astronaut_jpeg, token)
        assert (answer.status_code, answer.json()["code"]) == (503, "blind_unreachable")
        holder.start()
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
        assert site.withdraw(enrolled).status_code == 200
        assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
        entries = [json.loads(line) for line in site.export().splitlines()[1:]]
        assert sum(entry.get("decision") == "admit" for entry in entries) == 3


def test_the_holder_answers_nobody_else_and_no_low_threshold(holder: Holder) -> None:
    token = (holder.folder / "token").read_text()

    def ask(content: bytes, secret: str = token, smallest: int = 200_000) -> int:
        headers = {"authorization": f"Bearer {secret}", "x-least": str(smallest)}
        return httpx2.post(f"{holder.url}/v1/decisions", content=content, headers=headers, trust_env=False).status_code

    side = blind.BlindSide((holder.folder / "public.key").read_bytes())
    vector = np.full(512, 512**-0.5, np.float32)
    product = side.multiply(side.encrypt(Template(vector)), blind.whole(vector))
    assert ask(product) == 200
    assert ask(product, secret="wrong") == 401
    assert ask(product, smallest=100) == 422
    assert ask(b"nonsense") == 400
    assert ask(bytes(blind.MOST_BYTES + 1)) == 413
    assert (holder.folder / "secret.key").stat().st_mode & 0o077 == 0
