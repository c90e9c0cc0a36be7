"""Health, readiness and metrics, for the machines that look after this one."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.api.auth import System
from services.api.schemas import Readiness
from services.sweeper import Sweeper

router = APIRouter(tags=["infrastructure"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
def readyz(request: Request, response: Response, system: System) -> Readiness:
    """Say whether gates may be served, with which networks, providers and thresholds."""
    sweeper: Sweeper = request.app.state.sweeper
    with system.storage.reading() as unit:
        unit.gates.all()
    networks, settings = system.networks, system.settings
    ready = sweeper.alive()
    if not ready:
        response.status_code = 503
    source = "override" if settings.cosine_threshold is not None else f"card {networks.embedder_card.name}"
    return Readiness(
        ready=ready,
        version=version("dwarpal"),
        environment=settings.environment,
        models={
            "embedder": networks.embedder.model_digest,
            **({"pad": networks.pad.model_digest} if networks.pad else {}),
        },
        providers=networks.providers,
        thresholds={
            "claimed": f"FMR {settings.fmr:g} ({source})",
            "walk_through": f"FPIR {settings.walk_through_fpir:g} ({source})",
        },
        gallery=system.gallery.size(),
        sweeper=ready,
    )


@router.get("/metrics", response_class=Response)
def metrics(system: System) -> Response:
    """Return Prometheus metrics: counts and times by gate, decision and stage; nothing about people."""
    return Response(generate_latest(system.metrics.registry), media_type=CONTENT_TYPE_LATEST)
