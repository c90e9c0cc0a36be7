"""`Idempotency-Key`: the same request twice has one effect and one answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from infra.database.unit_of_work import SqlUnitOfWork
from infra.idempotency import IdempotencyStore
from services.bootstrap import Dwarpal

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="16 to 128 characters of A-Z a-z 0-9 _ -, random (a UUID); the answer is sealed under it for 24 h",
    ),
]


@dataclass(frozen=True, slots=True)
class Once:
    """One request as idempotency sees it; without a key it does nothing."""

    system: Dwarpal = field(repr=False)
    scope: str
    key: str | None = field(repr=False)
    digest: bytes = field(repr=False)

    def replay(self) -> Response | None:
        """Return the answer that was given before, or None."""
        if self.key is None:
            return None
        with self.system.storage.unit_of_work() as unit:
            found = self._store(unit).find(self.scope, self.key, self.digest, self.system.storage.now())
        if found is None:
            return None
        return Response(found.body, found.status, {"Idempotency-Replayed": "true"}, media_type="application/json")

    def keep(self, unit: SqlUnitOfWork, status: int, answer: BaseModel) -> None:
        """Keep an answer in the transaction that has the effect."""
        if self.key is not None:
            now = self.system.storage.now()
            self._store(unit).save(self.scope, self.key, self.digest, status, answer.model_dump_json().encode(), now)

    def _store(self, unit: SqlUnitOfWork) -> IdempotencyStore:
        return IdempotencyStore(unit.session, self.system.storage.keys)


async def body_digest(request: Request) -> bytes:
    """Return the SHA-256 of a JSON request's body."""
    return hashlib.sha256(await request.body()).digest()
