"""The HTTP application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import Event

import structlog
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from infra.settings import Settings
from infra.telemetry import Metrics, configure_logging
from services.api.errors import Problem, install_error_handlers
from services.api.middleware import install_middleware
from services.api.routes import (
    audit,
    credentials,
    desk,
    devices,
    enrollments,
    gates,
    guidance,
    health,
    jobs,
    keys,
    liveness,
    me,
    rights,
    witness,
)
from services.api.schemas import BatchRequest, CheckRequestBody, EnrollmentRequest, FramesBody, JobItem
from services.api.uploads import ComputeSlots, keep_uploads_in_memory, largest_body
from services.bootstrap import Dwarpal, build_dwarpal, build_rights
from services.jobs import Jobs
from services.sweeper import Sweeper
from services.web.routes import install_pages

log = structlog.get_logger()

DESCRIPTION = """
A traveller consents, is enrolled, walks through gates on the strength of a face, and is forgotten within 24 hours,
with proof. No call takes a URL of an image, none takes an embedding, and none returns a similarity score.

Errors are RFC 9457 problems with a stable `code`. Every response carries `x-request-id`.
"""


def create_app(settings: Settings, build: Callable[[Settings, Metrics], Dwarpal] = build_dwarpal) -> FastAPI:
    """Make the application; the system is built when it starts and closed when it ends."""
    configure_logging(settings.log_level)
    keep_uploads_in_memory(settings)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        system = app.state.dwarpal = build(settings, metrics)
        batches: Jobs[JobItem] = Jobs(system.storage.clock)
        app.state.jobs = batches

        def forget() -> None:
            batches.forget()
            system.liveness.sweep()
            build_rights(system.storage).sweep()

        sweeper = app.state.sweeper = Sweeper(system, also=forget)
        sweeper.sweep()
        sweeper.start()
        log.info("ready", gallery=system.gallery.size(), provider=system.networks.providers["embedder"])
        try:
            yield
        finally:
            batches.close()
            sweeper.stop()
            system.close()

    app = FastAPI(
        title="Dwarpal",
        version=version("dwarpal"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        license_info={"name": "Apache-2.0"},
        responses={
            "default": {
                "description": "RFC 9457 problem",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
        },
    )
    app.state.leaving = Event()
    app.state.slots = ComputeSlots(max(2, os.cpu_count() or 2))
    install_error_handlers(app)
    install_middleware(app, metrics=metrics, max_body=largest_body(settings), rate_address=settings.rate_address)
    for routes in (
        enrollments,
        credentials,
        jobs,
        gates,
        devices,
        guidance,
        liveness,
        keys,
        me,
        rights,
        audit,
        witness,
        desk,
        health,
    ):
        app.include_router(routes.router)
    install_pages(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, object]:
    """Return the OpenAPI description, with the JSON parts of multipart requests among its schemas."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        _, parts = models_json_schema(
            [
                (EnrollmentRequest, "validation"),
                (BatchRequest, "validation"),
                (CheckRequestBody, "validation"),
                (FramesBody, "validation"),
                (Problem, "serialization"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        schema["components"]["schemas"].update(parts["$defs"])
        # FastAPI's own 422 never happens here: our handler answers 400 (see errors.py).
        for path in schema["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
                # FastAPI says what a stream's items are in the words of OpenAPI 3.2; this description is of 3.1.
                stream = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream", {})
                if stream.pop("itemSchema", None):
                    stream["schema"] = {"type": "string"}
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
