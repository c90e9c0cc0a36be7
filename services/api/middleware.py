"""What every request passes before any route: an id, a size limit, a rate limit, one log line, safe headers."""

from __future__ import annotations

from time import perf_counter, time

import structlog
from fastapi import FastAPI, Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from biometrics.errors import TooLarge, TooManyAttempts
from biometrics.records import new_id
from infra.telemetry import Metrics
from services.api.errors import problem, unexpected
from services.api.uploads import MAX_JSON_PART

log = structlog.get_logger()

METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT"})
"""The methods that logs and metrics name; any other word is the caller's own."""

HEADERS = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


class RateLimits:
    """Counts requests by address, gate and holder; raises `TooManyAttempts` past a limit."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._items: dict[str, RateLimitItem] = {}

    def hit(self, rate: str, scope: str, who: str) -> None:
        """Count one request of `who` in `scope` against a rate such as `60/minute`."""
        item = self._items.setdefault(rate, parse(rate))
        if not self._limiter.hit(item, scope, who):
            window = self._limiter.get_window_stats(item, scope, who)
            from_now = int(window.reset_time - time()) + 1
            raise TooManyAttempts(
                "Too many requests: wait a little.", retry_after=max(1, from_now), code="rate_limited"
            )


class Envelope:
    """Pure ASGI, outermost: gives the request an id, refuses oversized bodies while they arrive, logs one line.

    `max_body` holds for multipart requests; whatever else is sent is JSON, and small.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_body: int, rates: RateLimits, rate_address: str) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body = max_body
        self._rates = rates
        self._rate_address = rate_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, received, begun = perf_counter(), 500, 0, False
        most = self._most_bytes(scope)

        async def measured_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise TooLarge("The request is larger than is accepted here.")
            return message

        async def marked_send(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun, status = True, message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *((name, value) for name, value in HEADERS.items() if name not in present),
                ]
            await send(message)

        try:
            self._admit(scope, most)
            await self._app(scope, measured_receive, marked_send)
        except (TooLarge, TooManyAttempts) as error:
            if begun:
                raise
            retry_after = error.retry_after if isinstance(error, TooManyAttempts) else None
            answer = problem(request_id, 429 if retry_after else 413, error.code, error.detail, retry_after=retry_after)
            answer.headers["connection"] = "close"
            await answer(scope, receive, marked_send)
        except Exception as error:  # noqa: BLE001 - further out, the server would log its message, which may quote input
            answer = unexpected(request_id, error)
            if begun:
                raise RuntimeError("an answer broke off") from None
            await answer(scope, receive, marked_send)
        finally:
            self._record(scope, request_id, status, perf_counter() - started)

    def _most_bytes(self, scope: Scope) -> int:
        return self._max_body if _header(scope, b"content-type").startswith(b"multipart/") else MAX_JSON_PART

    def _admit(self, scope: Scope, most: int) -> None:
        client = scope.get("client")
        self._rates.hit(self._rate_address, "address", client[0] if client else "unknown")
        length = _header(scope, b"content-length")
        if length.isdigit() and (len(length) > 18 or int(length) > most):
            raise TooLarge("The request is larger than is accepted here.")

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # The route's template, never the path: a path can hold an enrollment id.
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).observe(seconds)
        log.info(
            "request",
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
        )


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")


def rates_of(request: Request) -> RateLimits:
    """Return the application's rate limits."""
    rates = request.app.state.rates
    assert isinstance(rates, RateLimits)  # noqa: S101 - tells the type checker what create_app stored
    return rates


def install_middleware(app: FastAPI, *, metrics: Metrics, max_body: int, rate_address: str) -> None:
    """Wrap the application."""
    app.state.rates = RateLimits()
    app.add_middleware(Envelope, metrics=metrics, max_body=max_body, rates=app.state.rates, rate_address=rate_address)
