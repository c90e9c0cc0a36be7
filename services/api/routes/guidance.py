"""Guidance at the camera: a page sends a small picture twice a second and is told what the person should do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from biometrics.errors import MalformedInput
from infra.api_keys import Role
from services.api.auth import Caller, System, allow
from services.api.schemas import Request as Body
from services.api.uploads import ComputeSlots, Upload, decoded, multipart_openapi, read_upload
from services.guidance import Hint, Sighting, look, read_token

router = APIRouter(prefix="/v1", tags=["liveness"])

MOST_PIXELS = 1_000_000
"""A guide needs no more: pages send 480 x 640."""


class GuidanceBody(Body):
    """The JSON part `look` beside the picture."""

    token: bool = Field(False, description="read a travel token's QR code, too")


class FaceBox(BaseModel):
    """A face in the picture: pixels, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Guidance(BaseModel):
    """What the person should do next; nothing of the picture is kept."""

    hint: Hint
    face: FaceBox | None
    travel_token: str | None = Field(description="the token whose QR code is in the picture, if that was asked for")


async def _picture(
    request: Request,
    system: System,
    _caller: Annotated[Caller, Depends(allow(Role.ENROLLER, Role.GATE, visitor=True))],
) -> Upload[GuidanceBody]:
    return await read_upload(request, GuidanceBody, part="look", files={"image": 1}, settings=system.settings)


@router.post(
    "/guidance",
    response_model=Guidance,
    openapi_extra=multipart_openapi(GuidanceBody, "look", {"image": "a picture of at most a megapixel"}),
)
def guide(request: Request, system: System, sent: Annotated[Upload[GuidanceBody], Depends(_picture)]) -> Guidance:
    """Look at one small picture and say what to do next: a hint, never a score."""
    if "image" not in sent.files:
        raise MalformedInput("Send one file as `image`.", code="image_missing")
    slots: ComputeSlots = request.app.state.slots
    with slots.taken(), decoded(sent.files["image"], system.settings, max_pixels=MOST_PIXELS) as (picture,):
        seen = look(picture, system.networks.detector, system.quality)
        token = read_token(picture) if sent.body.token else None
    return _answer(seen, token.text if token else None)


def _answer(seen: Sighting, token: str | None) -> Guidance:
    box = seen.box
    face = None if box is None else FaceBox(x=box.x, y=box.y, width=box.width, height=box.height)
    return Guidance(hint=seen.hint, face=face, travel_token=token)
