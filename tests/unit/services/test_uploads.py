"""Multipart requests: what is let in, what is refused, and that pixels do not linger."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from threading import Thread
from typing import Annotated

import numpy as np
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image
from pydantic import BaseModel, ConfigDict
from starlette.formparsers import MultiPartParser

from biometrics.errors import DwarpalError, NotReady, UnsupportedImage
from biometrics.types import Pixels
from infra.settings import Settings
from infra.telemetry import Metrics
from services.api.errors import install_error_handlers
from services.api.middleware import install_middleware
from services.api.uploads import (
    MAX_JSON_PART,
    ComputeSlots,
    Upload,
    decoded,
    keep_uploads_in_memory,
    largest_body,
    multipart_openapi,
    read_upload,
)

SETTINGS = Settings(max_image_bytes=2**20, max_images=2)
GOOD = json.dumps({"size": 1})
File = tuple[str, tuple[str, bytes]]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int


async def _sent(request: Request) -> Upload[Part]:
    return await read_upload(request, Part, part="part", files={"images": 2, "document": 1}, settings=SETTINGS)


@pytest.fixture
def client() -> Iterator[TestClient]:
    before = MultiPartParser.spool_max_size
    keep_uploads_in_memory(SETTINGS)
    app = FastAPI()
    install_error_handlers(app)
    install_middleware(app, metrics=Metrics(), max_body=largest_body(SETTINGS), rate_address="1000/minute")

    @app.post("/")
    def take(sent: Annotated[Upload[Part], Depends(_sent)]) -> dict[str, object]:
        sizes = {name: [len(content) for content in contents] for name, contents in sent.files.items()}
        return {"size": sent.body.size, "files": sizes, "digest": sent.digest.hex()}

    yield TestClient(app)
    MultiPartParser.spool_max_size = before


def send(client: TestClient, *files: File, part: str | None = GOOD, **fields: str) -> Response:
    data = ({} if part is None else {"part": part}) | fields
    nothing: list[File] = [("images", ("a.jpg", b"x"))]
    return client.post("/", data=data, files=list(files) or nothing)


def image(name: str, content: bytes = b"x") -> File:
    return name, ("a.jpg", content)


def code_of(response: Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_parts_and_files_arrive(client: TestClient) -> None:
    answer = send(client, image("images", b"ab"), image("images", b"c"), image("document", b"def")).json()
    assert (answer["size"], answer["files"]) == (1, {"images": [2, 1], "document": [3]})


def test_the_json_part_may_come_as_a_file(client: TestClient) -> None:
    answer = client.post("/", files=[("part", ("part.json", GOOD.encode(), "application/json")), image("images")])
    assert answer.json()["size"] == 1
    assert answer.json()["files"] == {"images": [1]}


def test_the_digest_covers_the_part_every_byte_and_the_place_of_each_file(client: TestClient) -> None:
    requests: Sequence[Sequence[File]] = [
        [image("images", b"a"), image("images", b"b")],
        [image("images", b"b"), image("images", b"a")],
        [image("images", b"ab")],
        [image("images", b"a"), image("document", b"b")],
    ]
    digests = {send(client, *files).json()["digest"] for files in requests}
    digests.add(send(client, *requests[0], part='{"size": 2}').json()["digest"])
    assert len(digests) == len(requests) + 1
    again = {send(client, *requests[0]).json()["digest"] for _ in range(2)}
    assert len(again) == 1


def test_what_is_not_multipart_is_an_unsupported_type(client: TestClient) -> None:
    assert code_of(client.post("/", json={"size": 1})) == (415, "unsupported_media_type")
    assert code_of(client.post("/", data={"part": GOOD})) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("files", "fields", "status", "code"),
    [
        ([image("images")], {"part": None}, 400, "part_missing"),
        ([image("images")], {"part": ""}, 400, "part_missing"),
        ([image("images"), image("part", GOOD.encode())], {}, 400, "part_missing"),
        ([image("canary")], {}, 400, "unknown_field"),
        ([image("images")], {"canary": "1"}, 400, "unknown_field"),
        ([image("images")] * 3, {}, 413, "too_many_images"),
        ([image("document")] * 2, {}, 413, "too_many_images"),
        ([image("images")] * 9, {}, 400, "malformed"),
        ([image("images", b"x" * (2**20 + 1))], {}, 413, "too_large"),
        ([image("images")], {"part": '{"size": "canary"}'}, 400, "malformed"),
        ([image("images")], {"part": '{"size": 1, "canary": 1}'}, 400, "malformed"),
        ([image("images")], {"part": "canary"}, 400, "malformed"),
        ([image("images")], {"part": " " * (MAX_JSON_PART + 1)}, 400, "malformed"),
        ([image("part", b" " * (MAX_JSON_PART + 1))], {"part": None}, 400, "part_missing"),
    ],
)
def test_what_is_refused_is_not_echoed(
    client: TestClient, files: list[File], fields: dict[str, str | None], status: int, code: str
) -> None:
    answer = send(client, *files, **fields)  # type: ignore[arg-type]
    assert code_of(answer) == (status, code)
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; nam"),
        ("multipart/form-data; boundary=x", b"\xff" * 1000),
        (
            "multipart/form-data; boundary=x; charset=utf-7",
            b'--x\r\nContent-Disposition: form-data; name="part"\r\n\r\n+2AA-\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x; charset=no-such",
            b'--x\r\nContent-Disposition: form-data; name="part"\r\n\r\n\xff\r\n--x--\r\n',
        ),
    ],
)
def test_a_broken_form_is_malformed(client: TestClient, content_type: str, content: bytes) -> None:
    assert client.post("/", content=content, headers={"content-type": content_type}).status_code == 400


def test_no_upload_is_ever_spooled_to_a_disk(client: TestClient) -> None:
    assert MultiPartParser.spool_max_size > largest_body(SETTINGS)
    assert largest_body(SETTINGS) > (SETTINGS.max_images + 1) * SETTINGS.max_image_bytes


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((50, 50, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_pixels_are_overwritten_when_the_request_is_over() -> None:
    with decoded([png(200), png(100)], SETTINGS) as images:
        assert [int(pixels.max()) for pixels in images] == [200, 100]
    assert not any(pixels.any() for pixels in images)


def test_pixels_are_overwritten_when_the_work_fails() -> None:
    kept: list[Pixels] = []
    with pytest.raises(ZeroDivisionError), decoded([png(200)], SETTINGS) as images:
        kept.extend(images)
        raise ZeroDivisionError
    assert not kept[0].any()


def test_an_image_that_cannot_be_read_ends_the_request() -> None:
    with pytest.raises(UnsupportedImage), decoded([png(200), b"GIF89a" + bytes(100)], SETTINGS):
        raise AssertionError("never reached")


def test_a_slot_is_given_back_also_after_a_failure() -> None:
    slots = ComputeSlots(1)
    for _ in range(3):
        with pytest.raises(DwarpalError), slots.taken(patience=0):
            raise UnsupportedImage("x")
    with slots.taken(patience=0), pytest.raises(NotReady) as caught, slots.taken(patience=0):
        raise AssertionError("never reached")
    assert caught.value.code == "busy"


def test_a_slot_that_comes_free_is_taken_by_who_waits() -> None:
    slots = ComputeSlots(1)
    done: list[bool] = []

    def wait() -> None:
        with slots.taken(patience=None):
            done.append(True)

    with slots.taken():
        thread = Thread(target=wait)
        thread.start()
        assert not done
    thread.join(10)
    assert done


def test_the_description_names_what_is_required() -> None:
    described = multipart_openapi(Part, "part", {"images*": "captures", "document?": "photograph"})
    body = described["requestBody"]["content"]["multipart/form-data"]["schema"]  # type: ignore[index]
    assert body["required"] == ["part", "images"]
    assert body["properties"].keys() == {"part", "images", "document"}
    assert body["properties"]["images"]["minItems"] == 1
    assert body["properties"]["document"]["format"] == "binary"
