"""What every request passes: id, limits, log line, headers; and no failure gets out with its words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from prometheus_client import generate_latest
from pydantic import BaseModel

from biometrics.errors import ModelUnusable, NotReady, SealBroken, TooManyAttempts
from infra.telemetry import Metrics, configure_logging
from services.api.errors import install_error_handlers
from services.api.middleware import RateLimits, install_middleware
from services.api.uploads import MAX_JSON_PART

MAX_BODY = 4 * MAX_JSON_PART
FAILURES = {
    "unexpected": ValueError("canary"),
    "seal": SealBroken("canary"),
    "model": ModelUnusable("canary"),
    "not-ready": NotReady("The database is busy or away."),
    "limited": TooManyAttempts("Wait.", retry_after=9),
}


class Body(BaseModel):
    text: str


def make_app(metrics: Metrics, *, rate: str = "1000/minute") -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    install_middleware(app, metrics=metrics, max_body=MAX_BODY, rate_address=rate)

    @app.get("/things/{thing_id}")
    def thing(thing_id: str) -> dict[str, str]:
        return {"thing": thing_id}

    @app.post("/json")
    def take(body: Body) -> dict[str, int]:
        return {"length": len(body.text)}

    @app.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"length": len(await request.body())}

    @app.get("/fail/{kind}")
    def fail(kind: str) -> None:
        raise FAILURES[kind]

    @app.get("/stored")
    def stored() -> Response:
        return Response("x", headers={"Cache-Control": "max-age=60"})

    @app.get("/breaks-off")
    def breaks_off() -> StreamingResponse:
        def chunks() -> Iterator[bytes]:
            yield b"half"
            raise ValueError("canary")

        return StreamingResponse(chunks())

    return app


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics) -> TestClient:
    configure_logging("INFO")
    return TestClient(make_app(metrics))  # raises what gets out of the application


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/things/1", 200),
        ("/nowhere", 404),
        ("/json", 405),
        *((f"/fail/{kind}", 500) for kind in ("unexpected", "seal", "model")),
        ("/fail/not-ready", 503),
        ("/fail/limited", 429),
    ],
)
def test_every_answer_has_an_id_and_safe_headers(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert len(bytes.fromhex(answer.headers["x-request-id"])) == 16
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["status"] == status


@pytest.mark.parametrize("kind", ["unexpected", "seal", "model"])
def test_an_error_of_ours_gets_out_nowhere(client: TestClient, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    answer = client.get(f"/fail/{kind}")
    assert answer.json()["code"] == "internal_error"
    captured = capsys.readouterr()
    assert "canary" not in answer.text + captured.out + captured.err
    assert "unexpected_error" in captured.err


def test_what_breaks_off_half_way_says_nothing_of_why(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="an answer broke off") as caught:
        client.get("/breaks-off")
    assert caught.value.__suppress_context__
    assert "canary" not in capsys.readouterr().err


def test_each_request_has_its_own_id(client: TestClient) -> None:
    ids = {client.get("/things/1", headers={"x-request-id": "mine"}).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert "mine" not in ids


def test_a_routes_own_header_stands(client: TestClient) -> None:
    assert client.get("/stored").headers.get_list("cache-control") == ["max-age=60"]


def test_the_log_line_names_the_route_and_never_the_path(
    client: TestClient, metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/things/canary?token=canary")
    client.get("/canary")
    client.request("CANARY", "/things/1")
    err = capsys.readouterr().err
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/things/{thing_id}", 200),
        ("GET", "unmatched", 404),
        ("other", "/things/{thing_id}", 405),
    ]
    told = err + generate_latest(metrics.registry).decode()
    assert "canary" not in told.lower()


# Size


def body(size: int, *, chunk: int = 1000) -> Iterator[bytes]:
    """A body without a content-length."""
    for start in range(0, size, chunk):
        yield b"x" * min(chunk, size - start)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("path", ["/json", "/raw"])
def test_json_may_not_be_huge(client: TestClient, path: str, chunked: bool) -> None:
    size = MAX_JSON_PART + 1
    headers = {"content-type": "application/json"}
    answer = client.post(path, content=body(size) if chunked else b"x" * size, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_multipart_request_may_be_as_large_as_its_images(client: TestClient, chunked: bool) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}

    def send(size: int) -> int:
        return client.post("/raw", content=body(size) if chunked else b"x" * size, headers=headers).status_code

    assert send(MAX_BODY) == 200
    assert send(MAX_BODY + 1) == 413


def test_a_length_beyond_all_numbers_is_too_large(client: TestClient) -> None:
    headers = {"content-length": "9" * 5000}
    assert client.post("/raw", content=body(1), headers=headers).status_code == 413


def test_malformed_json_is_malformed_and_not_echoed(client: TestClient) -> None:
    for content in (b"", b"{", b'{"text": 1, "canary": 2}', b"\xff\xfe", b"[" * 50_000):
        answer = client.post("/json", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed"
        assert "canary" not in answer.text


# Rates


def test_past_the_rate_of_an_address_one_is_told_how_long_to_wait(metrics: Metrics) -> None:
    client = TestClient(make_app(metrics, rate="2/hour"))
    assert [client.get("/things/1").status_code for _ in range(2)] == [200, 200]
    answer = client.get("/things/1")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 3601
    assert answer.headers["x-request-id"]


def test_a_domain_error_tells_how_long_to_wait_too(client: TestClient) -> None:
    assert client.get("/fail/limited").headers["retry-after"] == "9"
    assert client.get("/fail/not-ready").headers["retry-after"] == "1"


def test_rates_are_counted_by_scope_and_caller() -> None:
    rates = RateLimits()
    for _ in range(2):
        rates.hit("2/hour", "gate", "a")
    rates.hit("2/hour", "gate", "b")
    rates.hit("2/hour", "holder", "a")
    with pytest.raises(TooManyAttempts) as caught:
        rates.hit("2/hour", "gate", "a")
    assert caught.value.code == "rate_limited"
    assert 1 <= caught.value.retry_after <= 3601
