"""The service in this process with a clock of its own, as a stage for rendered runs of the active challenge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi.testclient import TestClient

from biometrics.records import Gate, LivenessPolicy, Purpose, new_id
from evaluation.challenge_runs import Frame, Told
from infra.api_keys import Role
from infra.settings import Environment, Settings
from infra.telemetry import Metrics
from liveness.challenge import Step
from services.administration import add_gate, add_key
from services.api.app import create_app
from services.bootstrap import Dwarpal, Networks, build_dwarpal, build_networks, build_storage
from services.simulated_clock import SimulatedClock

GATE = "stage-1"


@dataclass
class HttpStage:
    """A `Stage`: one gate's calls over HTTP; a lock-out is waited for."""

    client: TestClient
    key: str = field(repr=False)
    clock: SimulatedClock
    gate: str = GATE

    def open(self) -> Told:
        """Open a session."""
        answer = self.client.post("/v1/liveness/sessions", headers=self._auth())
        if answer.status_code == 429:
            self.wait(float(answer.headers["Retry-After"]))
            answer = self.client.post("/v1/liveness/sessions", headers=self._auth())
        answer.raise_for_status()
        return _told(answer.json())

    def send(self, session_id: str, frames: Sequence[Frame]) -> Told:
        """Send frames; a refused call is answered with the session's last state and the refusal's code."""
        about = [{"nonce": f.nonce, "captured_at": f.captured_at.isoformat()} for f in frames]
        files = [("images", (f"{n}.jpg", frame.jpeg)) for n, frame in enumerate(frames)]
        url = f"/v1/liveness/sessions/{session_id}"
        answer = self.client.post(
            f"{url}/frames", headers=self._auth(), data={"frames": json.dumps({"frames": about})}, files=files
        )
        if answer.status_code == 200:
            return _told(answer.json())
        state = self.client.get(url, headers=self._auth())
        state.raise_for_status()
        return replace(_told(state.json()), reason=answer.json()["code"])

    def gate_reason(self, session_id: str, jpeg: bytes) -> str:
        """Show a face with a session to a gate that demands one, and return the reason of its decision."""
        body = {"nonce": new_id(), "captured_at": self.now().isoformat(), "liveness_session": session_id}
        answer = self.client.post(
            f"/v1/gates/{self.gate}/checks",
            headers=self._auth(),
            data={"check": json.dumps(body)},
            files={"image": ("face.jpg", jpeg)},
        )
        said = answer.json()
        return str(said["reason"] if answer.status_code == 200 else said["code"])

    def now(self) -> datetime:
        """Return the time."""
        return self.clock.now()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.time += timedelta(seconds=seconds)

    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def _told(body: dict[str, str | None]) -> Told:
    step = body["step"]
    return Told(
        str(body["session_id"]),
        str(body["status"]),
        None if step is None else Step(step),
        body["nonce"],
        body["reason"],
    )


@contextmanager
def temporary_stage(settings: Settings, networks: Networks | None = None) -> Iterator[HttpStage]:
    """Start a service on a folder that vanishes, with one gate that asks for an active challenge."""
    networks = networks or build_networks(settings)
    clock = SimulatedClock()
    with TemporaryDirectory(prefix="dwarpal-stage-") as folder:
        changes = {
            "environment": Environment.DEVELOPMENT,
            "data_dir": Path(folder),
            "database_url": "",
            "log_level": "ERROR",
            "rate_gate": "100000000/minute",
            "rate_address": "100000000/minute",
            "purge_interval_seconds": 3600.0,
        }
        changed = Settings.model_validate(settings.model_dump() | changes)

        def build(settings: Settings, metrics: Metrics) -> Dwarpal:
            storage = replace(build_storage(settings), clock=clock)
            return build_dwarpal(settings, metrics, storage=storage, networks=networks)

        app = create_app(changed, build)
        with TestClient(app) as client:
            storage = app.state.dwarpal.storage
            add_gate(storage, Gate(GATE, Purpose.ENTRY, liveness=LivenessPolicy.ACTIVE))
            yield HttpStage(client, add_key(storage, Role.GATE, GATE)[1], clock)
