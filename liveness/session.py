"""What a gate check asks of liveness sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from biometrics.ports import UnitOfWork
from biometrics.types import Template


class LivenessProofs(Protocol):
    """Liveness sessions as a gate check sees them."""

    def redeem(self, unit: UnitOfWork, session_id: str, gate_id: str, probe: Template, now: datetime) -> bool:
        """Use a session up, in the caller's transaction.

        True exactly once, for a session that succeeded at this gate, is unexpired, and whose face is the probe's.
        """
        ...
