"""Health, readiness and metrics, for the machines that look after this one."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.api.auth import System
from services.api.schemas import CalibrationStatus, Readiness
from services.calibration import Calibration, Source
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
    system.storage.keys.signing_key()
    networks, settings = system.networks, system.settings
    ready = sweeper.alive()
    if not ready:
        response.status_code = 503
    return Readiness(
        ready=ready,
        version=version("dwarpal"),
        environment=settings.environment,
        models={
            "embedder": networks.embedder.model_digest,
            **({"pad": networks.pad.model_digest} if networks.pad else {}),
        },
        providers=networks.providers,
        thresholds=_thresholds(system.calibration),
        calibration=_status(system.calibration),
        gallery=system.gallery.size(),
        sweeper=ready,
    )


def _thresholds(calibration: Calibration) -> dict[str, str]:
    if calibration.source is Source.OVERRIDE:
        return dict.fromkeys(("claimed", "walk_through"), "explicit cosine (override)")
    source = f"card {calibration.measured.name}" if calibration.source is Source.CARD else calibration.source.value
    return {
        "claimed": f"FMR {calibration.fmr:g} ({source})",
        "walk_through": f"FPIR {calibration.fpir:g} ({source})",
    }


def _status(calibration: Calibration) -> CalibrationStatus:
    explicit = calibration.source is Source.OVERRIDE
    return CalibrationStatus(
        source=calibration.source,
        model=calibration.model_digest,
        fmr=None if explicit else calibration.fmr,
        fpir=None if explicit else calibration.fpir,
        gallery_size=calibration.gallery_size,
        support=calibration.support,
        created_at=calibration.created_at,
        execution_provider=calibration.execution_provider,
        record=calibration.sha256,
    )


@router.get("/metrics", response_class=Response)
def metrics(system: System) -> Response:
    """Return Prometheus metrics: counts and times by gate, decision and stage; nothing about people."""
    return Response(generate_latest(system.metrics.registry), media_type=CONTENT_TYPE_LATEST)
