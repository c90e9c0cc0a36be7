"""`dwarpal enroll`, `check` and `withdraw`: the HTTP interface from the command line."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biometrics.records import Purpose, TravelToken
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import fields, print_json, remark, say, waiting, write_secret

if TYPE_CHECKING:
    from pydantic import JsonValue

    from services.cli.service import Answer, Service, Sign

Url = Annotated[str, typer.Option(envvar="DWARPAL_URL", help="Where the service listens.")]
Key = Annotated[str, typer.Option(envvar="DWARPAL_KEY", help="The caller's key; better in the environment than here.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="DWARPAL_TOKEN", help="The travel token; `-` reads it from standard input."),
]
Frames = typer.Argument(
    metavar="IMAGE...", exists=True, dir_okay=False, help="A photograph or 3 to 8 frames: JPEG, PNG or WebP."
)
LOCAL = "http://127.0.0.1:8000"
NOTICE = ("title", "version", "language", "sha256", "introduction", "purposes", "retention")


def enroll(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    key: Key,
    flight: Annotated[str, typer.Option(help="Such as AI302.")],
    purpose: Annotated[list[Purpose], typer.Option(help="What the traveller agrees to; repeatable.")],
    departs_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Departure with its zone, such as 2026-11-24T06:30+05:30.")
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the notice: en, hi, bn, mr, ta, te or ur.")] = "en",
    i_consent: Annotated[
        bool, typer.Option("--i-consent", help="The traveller is 18 or older, read the notice and agrees.")
    ] = False,
    qr: Annotated[Path | None, typer.Option(help="Write the token's QR code to this PNG.", dir_okay=False)] = None,
    receipt: Annotated[Path | None, typer.Option(help="Write the consent receipt here.", dir_okay=False)] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Enroll a traveller from photographs. Without --i-consent it shows what there is to agree to, and ends."""
    departure = departure_time(departs_at) if departs_at else None
    with open_service(url) as service:
        notice = done(service.get("/v1/notice", query={"lang": language}), NOTICE).body
        show_notice(notice, purpose)
        if not i_consent:
            raise CommandFailed("Nothing was sent. Add --i-consent if the traveller is 18 or older and agrees.")
        with waiting("Enrolling"):
            answer = service.enroll(
                [image.read_bytes() for image in images],
                key=key,
                flight=flight,
                departs_at=departure,
                purposes=[wanted.value for wanted in purpose],
                notice=notice,
                adult=True,
            )
    created = done(answer, ("travel_token", "travel_token_qr_png", "consent_receipt"))
    if qr is not None:
        write_secret(qr, b64decode(created.text("travel_token_qr_png")))
    if receipt is not None:
        write_secret(receipt, json.dumps(created.object("consent_receipt"), indent=2).encode())
    if as_json:
        print_json(created.body)
        return
    for refused in created.items("rejected"):
        remark(f"image {refused['index']} was not used: {refused['reason']}")
    fields({name: created.text(name) for name in ("enrollment_id", "travel_token", "expires_at", "flags")})


def check(
    images: Annotated[list[Path], Frames],
    key: Key,
    gate: Annotated[str, typer.Option(help="The gate whose key this is.")],
    token: Token = None,
    flight: Annotated[str | None, typer.Option(help="Walk-through: search this flight only.")] = None,
    credential: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="In place of a token: the file of a journey credential."),
    ] = None,
    device_key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Sign with this key file of `gates keygen`.")
    ] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Check one traveller at a gate: by token or credential 1:1, else as a walk-through. Exit code 0 only for admit.

    One photograph, or a burst of 3 to 8 frames in the order of capture.
    """
    with open_service(url) as service, waiting("Checking"):
        answer = service.check(
            gate,
            [image.read_bytes() for image in images],
            key=key,
            captured_at=datetime.now(UTC),
            token=_token(token),
            flight=flight,
            sign=_signer(device_key),
            credential=credential_in(credential) if credential else None,
        )
    decided = done(answer, ("decision",))
    if as_json:
        print_json(decided.body)
    else:
        say(f"{decided.text('decision')}: {decided.text('reason')}")
    raise typer.Exit(ExitCode.OK if decided.text("decision") == "admit" else ExitCode.NEGATIVE)


def withdraw(
    token: Token = None,
    receipt: Annotated[Path | None, typer.Option(help="Write the deletion receipt here.", dir_okay=False)] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Withdraw consent: the traveller of this token is forgotten now, with a signed receipt."""
    text = _token(token)
    if text is None:
        raise CommandFailed("Give the travel token: --token or DWARPAL_TOKEN.")
    with open_service(url) as service:
        answer = done(
            service.delete(f"/v1/enrollments/{TravelToken.parse(text).enrollment_id}", key=text), ("receipt",)
        )
    if receipt is not None:
        write_secret(receipt, json.dumps(answer.object("receipt"), indent=2).encode())
    if as_json:
        print_json(answer.body)
    else:
        proof = answer.object("receipt")
        fields({"erased_at": proof["time"], "log_index": proof["log_index"], "receipt_id": proof["receipt_id"]})


def open_service(url: str) -> Service:
    """Return the service at a URL."""
    from services.cli.service import Service

    return Service(url)


def _signer(path: Path | None) -> Sign | None:
    from infra.capture_signing import DeviceSigner

    return None if path is None else DeviceSigner.read(path).sign


def _token(given: str | None) -> str | None:
    return sys.stdin.readline().strip() if given == "-" else given


def credential_in(path: Path) -> str:
    """Return the journey credential in a file; what is no text reads as one that no parser takes."""
    return path.read_bytes().decode("ascii", "replace").strip()


def departure_time(text: str) -> datetime:
    """Read `--departs-at`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CommandFailed("--departs-at is a time with its zone, such as 2026-11-24T06:30+05:30.")
    return time


def show_notice(notice: dict[str, JsonValue], wanted: list[Purpose]) -> None:
    """Show on standard error what the traveller agrees to, in the notice's language."""
    remark(f"{notice['title']} ({notice['language']}, {notice['version']})")
    remark(str(notice["introduction"]))
    purposes = notice["purposes"]
    for item in purposes if isinstance(purposes, list) else ():
        if isinstance(item, dict) and item["id"] in wanted:
            remark(f"  [x] {item['title']}: {item['text']}")
    remark(str(notice["retention"]))


def done(answer: Answer, needed: tuple[str, ...]) -> Answer:
    """Return an answer that did what was asked; raise `CommandFailed` with the service's own words otherwise."""
    if answer.ok:
        if not all(name in answer.body for name in needed):
            raise CommandFailed("What answers there is not Dwarpal.", ExitCode.UNAVAILABLE)
        return answer
    detail = answer.text("detail") or f"The service answered with status {answer.status}."
    reasons = ", ".join(f"image {item['index']}: {item['reason']}" for item in answer.items("rejected"))
    raise CommandFailed(
        f"{detail} ({answer.text('code') or answer.status}{'; ' + reasons if reasons else ''})", _code(answer.status)
    )


def _code(status: int) -> ExitCode:
    if status in (400, 404, 413, 415):
        return ExitCode.USAGE
    return ExitCode.UNAVAILABLE if status == 429 or status >= 500 else ExitCode.NEGATIVE
