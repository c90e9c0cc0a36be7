"""Errors as RFC 9457 problems: stable code, safe words, a request id; never an echo of input, never a traceback."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from biometrics import errors
from enrollment.enroll import NoUsableImage
from infra.telemetry import fault

log = structlog.get_logger()

STATUS: dict[type[errors.DwarpalError], int] = {
    errors.MalformedInput: 400,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedImage: 415,
    errors.UnusableFace: 422,
    errors.TooManyAttempts: 429,
    errors.NotReady: 503,
}

TITLES = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "No usable face",
    429: "Too many attempts",
    500: "Internal error",
    503: "Not ready",
}

HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class RejectedImage(BaseModel):
    """One image that could not be used."""

    index: int = Field(examples=[0])
    reason: str = Field(examples=["too_blurred"])


class Problem(BaseModel):
    """An error after RFC 9457; `code` is stable."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Conflict",
                "status": 409,
                "code": "replayed",
                "detail": "This capture was sent before.",
                "request_id": "0d4c9a2f1e6b4c1f8f0f5f7f2b7a9c11",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    rejected: list[RejectedImage] | None = None


def problem(
    request_id: str,
    status: int,
    code: str,
    detail: str,
    *,
    retry_after: int | None = None,
    rejected: list[RejectedImage] | None = None,
) -> JSONResponse:
    """Build the response for one problem."""
    body = Problem(
        title=TITLES.get(status, "Error"),
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        rejected=rejected,
    )
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type="application/problem+json")


def unexpected(request_id: str, error: Exception) -> JSONResponse:
    """Log an error of ours without its words, which may quote input, and build the response for it."""
    log.error("unexpected_error", request_id=request_id, **fault(error))
    return problem(request_id, 500, "internal_error", "Something went wrong here. Nothing was changed.")


def request_id_of(request: Request) -> str:
    """Return the id that the outermost middleware gave this request."""
    return str(request.state.request_id)


def status_of(error: errors.DwarpalError) -> int:
    """Return the HTTP status of a domain error; those that no caller can mend are 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def rejected_by(error: errors.DwarpalError) -> list[RejectedImage] | None:
    """Return why each image of an enrollment was refused, where that is what the error is about."""
    if not isinstance(error, NoUsableImage):
        return None
    return [RejectedImage(index=r.index, reason=r.reason) for r in error.rejected]


def install_error_handlers(app: FastAPI) -> None:
    """Answer every failure with a problem."""

    @app.exception_handler(errors.DwarpalError)
    def on_domain_error(request: Request, error: errors.DwarpalError) -> JSONResponse:
        status = status_of(error)
        if status == 500:
            return unexpected(request_id_of(request), error)
        retry_after = error.retry_after if isinstance(error, errors.TooManyAttempts) else None
        if status == 503:
            retry_after = 1
        return problem(
            request_id_of(request),
            status,
            error.code,
            error.detail,
            retry_after=retry_after,
            rejected=rejected_by(error),
        )

    @app.exception_handler(RequestValidationError)
    def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(request_id_of(request), 400, "malformed", fields_at_fault(error.errors()))

    @app.exception_handler(HTTPException)
    def on_http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, errors.DwarpalError):  # FastAPI hides what ended the reading of a body
            return on_domain_error(request, error.__cause__)
        code = HTTP_CODES.get(error.status_code, "malformed")
        return problem(
            request_id_of(request), error.status_code, code, TITLES.get(error.status_code, "The request failed.") + "."
        )


def fields_at_fault(found: object) -> str:
    """Name declared fields that are wrong, and what kind of wrong; input values and unknown names are left out."""
    if not isinstance(found, list | tuple):
        return "The request is malformed."
    parts = []
    for item in found[:5]:
        unknown = item["type"] == "extra_forbidden"
        place = [*item["loc"][:-1], "a field"] if unknown else item["loc"]
        parts.append(f"{'.'.join(map(str, place or ['body']))}: {item['type']}")
    return "Wrong or missing: " + "; ".join(parts) + "."
