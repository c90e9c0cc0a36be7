"""The key holder of blind matching: a service of its own that reads dot products and answers yes or no.

It keeps nothing, logs nothing, and has no database. It runs where the operator of the gates has no access; who
asks has the secret that was made with the keys.
"""

from __future__ import annotations

import hmac

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from biometrics.errors import SealBroken
from infra.blind import MOST_BYTES, SCALE, SeeingSide
from infra.blind_holder import LEAST_HEADER, PATH


class Said(BaseModel):
    """The whole answer."""

    enough: bool


def create_holder(secret: bytes, token: str, *, lowest_cosine: float) -> FastAPI:
    """Make the application; it answers nobody about a threshold below `lowest_cosine`.

    Whoever may choose any threshold could learn a score by halving.
    """
    side = SeeingSide(secret)
    lowest = int(lowest_cosine * SCALE * SCALE * 0.99)
    app = FastAPI(title="Dwarpal key holder", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post(PATH)
    async def decide(request: Request) -> Said:
        """Say whether an encrypted dot product is `x-least` or more."""
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
            raise HTTPException(401)
        wanted = request.headers.get(LEAST_HEADER, "")
        smallest = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else -1
        if not lowest <= smallest <= 2 * SCALE * SCALE:
            raise HTTPException(422)
        product = bytearray()
        async for part in request.stream():
            product += part
            if len(product) > MOST_BYTES:
                raise HTTPException(413)
        try:
            return Said(enough=await run_in_threadpool(side.enough, bytes(product), smallest))
        except SealBroken:
            raise HTTPException(400) from None

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    return app
