"""The pages' addresses, in one application of routers; the pages' scripts use the public interface under `/v1`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.responses import Response as StarletteResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.web import audit, desk, gate, my, sign_in, traveller
from services.web.pages import HEADERS


class OwnFiles(StaticFiles):
    """Scripts, styles and fonts: kept by browsers, asked for anew with their ETag."""

    async def get_response(self, path: str, scope: Scope) -> StarletteResponse:
        """Answer with a file, or 404."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        response.headers["cross-origin-resource-policy"] = HEADERS["Cross-Origin-Resource-Policy"]
        return response


def install_pages(app: FastAPI) -> None:
    """Add the pages to the application."""
    for router in (traveller.router, my.router, my.verifier, sign_in.router, gate.router, desk.router, audit.router):
        app.include_router(router, include_in_schema=False)
    app.mount("/static", OwnFiles(directory=Path(str(files("services.web").joinpath("static")))), name="static")

    @app.get("/favicon.ico", include_in_schema=False)
    def no_icon() -> Response:
        """Browsers ask for this whatever a page says; our icon is `/static/icon.svg`."""
        return Response(status_code=204)
