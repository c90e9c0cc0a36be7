"""Logs and metrics that can hold nothing personal: both are allow-lists."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from biometrics.sessions import LivenessSession

LOGGABLE = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "request_id",
        "method",
        "route",
        "status",
        "code",
        "duration_ms",
        "gate_id",
        "decision",
        "reason",
        "templates",
        "epochs",
        "nonces",
        "gallery",
        "provider",
        "model",
        "error_type",
        "where",
        "host",
        "port",
    }
)
"""The only fields that reach a log line; whatever else a caller passes is dropped."""


def _only_loggable(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    return {key: value for key, value in event.items() if key in LOGGABLE}


def configure_logging(level: str) -> None:
    """Send JSON lines to standard error; library loggers are held to warnings without their arguments' values."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_loggable,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _LibraryLines) for handler in root.handlers):
        root.addHandler(_LibraryLines(logging.WARNING))


class _LibraryLines(logging.Handler):
    """Tells that a library complained, and where; its words and its traceback may quote a request, so they are dropped.

    Without a handler of ours Python would print both (`logging.lastResort`).
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = {"where": f"{record.name}:{record.lineno}"} | (fault(error) if error is not None else {})
        structlog.get_logger().log(record.levelno, "library_complained", **said)


def fault(error: BaseException) -> dict[str, str]:
    """Describe an unexpected error without its message, which may quote input: its type and where it arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
    return {"error_type": type(error).__name__, "where": where}


class Metrics:
    """Prometheus metrics of one service; labels are gates, decisions, reasons and stages, never people."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.checks = Counter(
            "dwarpal_checks_total", "Gate checks decided", ("gate", "decision", "reason"), registry=self.registry
        )
        self.refused_captures = Counter(
            "dwarpal_refused_captures_total",
            "Captures turned away: no usable face (FTA), or no valid signature",
            ("code",),
            registry=self.registry,
        )
        self.suspected_attacks = Counter(
            "dwarpal_suspected_attacks_total", "Suspected attacks by cue", ("gate", "cue"), registry=self.registry
        )
        self.liveness_sessions = Counter(
            "dwarpal_liveness_sessions_total",
            "Liveness sessions that ended",
            ("gate", "status", "reason"),
            registry=self.registry,
        )
        self.enrollments = Counter(
            "dwarpal_enrollments_total", "Enrollments by outcome", ("outcome",), registry=self.registry
        )
        self.erasures = Counter("dwarpal_erasures_total", "Templates erased", ("cause",), registry=self.registry)
        self.stage_seconds = Histogram(
            "dwarpal_check_stage_seconds",
            "Time of each stage of a gate check",
            ("stage",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
            registry=self.registry,
        )
        self.requests = Histogram(
            "dwarpal_request_seconds", "HTTP requests", ("route", "method", "status"), registry=self.registry
        )
        self.gallery_size = Gauge("dwarpal_gallery_templates", "Templates in memory", registry=self.registry)
        self.last_purge = Gauge(
            "dwarpal_last_purge_timestamp_seconds", "When the last purge succeeded", registry=self.registry
        )

    def count_liveness_session(self, session: LivenessSession) -> None:
        """Count a session that ended; all kiosks together, for their keys are no gates."""
        self.liveness_sessions.labels(session.gate_id or "kiosk", session.status.value, session.reason or "").inc()
