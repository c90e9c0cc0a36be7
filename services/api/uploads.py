"""Images and JSON parts out of a multipart request, in memory only.

Starlette's parser moves files over 1 MiB to a temporary file on disk. An image must never be there, so the limit is
raised above the largest body that is let in; `tests/integration/test_invariants.py` watches the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Generic, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from biometrics.capture import zero_pixels
from biometrics.decoding import decode_image
from biometrics.errors import MalformedInput, NotReady, TooLarge, UnsupportedImage
from biometrics.types import Pixels
from infra.settings import Settings

MAX_JSON_PART = 64 * 1024
SLOT_PATIENCE_SECONDS = 10.0

Body = TypeVar("Body", bound=BaseModel)


def largest_body(settings: Settings) -> int:
    """Return the most bytes that a request may have: all images of one enrollment and their JSON part."""
    return (settings.max_images + 1) * settings.max_image_bytes + 2 * MAX_JSON_PART


def keep_uploads_in_memory(settings: Settings) -> None:
    """Raise Starlette's spool limit above the largest body."""
    MultiPartParser.spool_max_size = largest_body(settings) + 1


class ComputeSlots:
    """Bounds how many requests hold decoded pixels at once, and with it the memory."""

    def __init__(self, count: int) -> None:
        self._slots = BoundedSemaphore(count)

    @contextmanager
    def taken(self, patience: float | None = SLOT_PATIENCE_SECONDS) -> Iterator[None]:
        """Hold a slot; raise `NotReady` if none comes free in so many seconds (None: as long as it takes)."""
        if not self._slots.acquire(timeout=patience):
            raise NotReady("Too many captures at once: try again.", code="busy")
        try:
            yield
        finally:
            self._slots.release()


@dataclass(frozen=True, slots=True)
class Upload(Generic[Body]):
    """A parsed request: the JSON part, the image files by field name, and the SHA-256 of all of it.

    `names` are the file names beside `files`, which only a batch looks at; the digest does not cover them.
    """

    body: Body
    files: dict[str, list[bytes]] = field(repr=False)
    names: dict[str, list[str]] = field(repr=False)
    digest: bytes


@contextmanager
def decoded(contents: Sequence[bytes], settings: Settings, *, max_pixels: int | None = None) -> Iterator[list[Pixels]]:
    """Decode images of at most `max_pixels` (by default the setting's) and overwrite their pixels on leaving."""
    most = settings.max_image_pixels if max_pixels is None else max_pixels
    images: list[Pixels] = []
    try:
        for content in contents:
            images.append(  # noqa: PERF401 - what was decoded before a failure must be overwritten too
                decode_image(content, max_bytes=settings.max_image_bytes, max_pixels=most)
            )
        yield images
    finally:
        for image in images:
            zero_pixels(image)


async def read_upload(
    request: Request, model: type[Body], *, part: str, files: dict[str, int], settings: Settings
) -> Upload[Body]:
    """Read a multipart request with one JSON part and up to `files[name]` images in each file field.

    Raises `UnsupportedImage` if the request is not multipart, `MalformedInput` if parts are missing or unknown,
    `TooLarge` past a limit, `RequestValidationError` if the JSON part is wrong.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UnsupportedImage("Send multipart/form-data with the image as a file.", code="unsupported_media_type")
    try:
        form = await request.form(max_files=sum(files.values()) + 1, max_fields=2, max_part_size=MAX_JSON_PART)
    except (HTTPException, MultiPartException):
        raise MalformedInput("The multipart form cannot be read, or has too many or too large parts.") from None
    try:
        return _parse(form, model, part, files, await _contents(form, settings))
    finally:
        await form.close()


async def _contents(form: FormData, settings: Settings) -> dict[str, list[bytes]]:
    contents: dict[str, list[bytes]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if value.size is not None and value.size > settings.max_image_bytes:
                raise TooLarge("The image has more bytes than are accepted here.")
            contents.setdefault(name, []).append(await value.read())
    return contents


def _parse(
    form: FormData, model: type[Body], part: str, files: dict[str, int], contents: dict[str, list[bytes]]
) -> Upload[Body]:
    if unknown := set(form.keys()) - files.keys() - {part}:
        raise MalformedInput(f"The form has {len(unknown)} unknown field(s).", code="unknown_field")
    for name, most in files.items():
        if len(contents.get(name, [])) > most:
            raise TooLarge(f"At most {most} file(s) may be sent as `{name}`.", code="too_many_images")
    texts = form.getlist(part)
    # a form may name its own character set, and some of them make text that has no UTF-8: hence `replace`
    written = b"".join(text.encode(errors="replace") for text in texts if isinstance(text, str))
    raw = contents.pop(part)[0] if part in contents else written
    if len(texts) != 1 or not raw or len(raw) > MAX_JSON_PART:
        raise MalformedInput(f"Send the JSON part `{part}` once.", code=f"{part}_missing")
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None
    digest = hashlib.sha256(raw)
    for name in sorted(contents):
        for content in contents[name]:
            digest.update(name.encode() + hashlib.sha256(content).digest())
    return Upload(body, contents, _names(form), digest.digest())


def _names(form: FormData) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for field_name, value in form.multi_items():
        if isinstance(value, UploadFile):
            names.setdefault(field_name, []).append(value.filename or "")
    return names


def multipart_openapi(model: type[BaseModel], part: str, files: dict[str, str]) -> dict[str, object]:
    """Describe such a request for OpenAPI.

    `files` maps a field's name to its meaning; behind the name `*` stands for several files, `?` for none needed.
    """
    binary = {"type": "string", "format": "binary"}
    properties: dict[str, object] = {part: {"$ref": f"#/components/schemas/{model.__name__}"}}
    for name, meaning in files.items():
        several = "*" in name
        properties[name.rstrip("*?")] = (
            {"type": "array", "items": binary, "minItems": 1, "description": meaning}
            if several
            else {**binary, "description": meaning}
        )
    required = [part, *(name.rstrip("*") for name in files if not name.endswith("?"))]
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "required": required, "properties": properties},
                    "encoding": {part: {"contentType": "application/json"}},
                }
            },
        }
    }
