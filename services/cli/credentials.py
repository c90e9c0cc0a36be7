"""`dwarpal credentials`: journey credentials on the traveller's phone (docs/credentials.md)."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biometrics.errors import MalformedInput, NotPermitted
from biometrics.records import Purpose
from services.cli.options import AsJson
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import fields, print_json, remark, waiting, write_secret
from services.cli.traveller import LOCAL, Key, Url, credential_in, departure_time, done, open_service, show_notice

if TYPE_CHECKING:
    from biometrics.credentials import JourneyCredential
    from services.cli.service import Service

app = typer.Typer(no_args_is_help=True, help="A template that the traveller carries and the server does not keep.")

File = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `issue` wrote.")]
Qr = Annotated[Path | None, typer.Option(help="Write the QR code to this PNG.", dir_okay=False)]


@app.command()
def issue(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    key: Key,
    flight: Annotated[str, typer.Option(help="Such as AI302.")],
    purpose: Annotated[list[Purpose], typer.Option(help="What the traveller agrees to; repeatable.")],
    out: Annotated[Path, typer.Option(help="Write the credential here, mode 0600.", dir_okay=False)],
    departs_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Departure with its zone, such as 2026-11-24T06:30+05:30.")
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the notice: en, hi, bn, mr, ta, te or ur.")] = "en",
    i_consent: Annotated[
        bool, typer.Option("--i-consent", help="The traveller is 18 or older, read the notice and agrees.")
    ] = False,
    qr: Qr = None,
    receipt: Annotated[Path | None, typer.Option(help="Write the consent receipt here.", dir_okay=False)] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Issue a credential from photographs. Without --i-consent it shows what there is to agree to, and ends."""
    departure = departure_time(departs_at) if departs_at else None
    with open_service(url) as service:
        notice = done(service.get("/v1/notice", query={"lang": language}), ("title", "version", "sha256")).body
        show_notice(notice, purpose)
        if not i_consent:
            raise CommandFailed("Nothing was sent. Add --i-consent if the traveller is 18 or older and agrees.")
        with waiting("Issuing"):
            answer = service.enroll(
                [image.read_bytes() for image in images],
                key=key,
                flight=flight,
                departs_at=departure,
                purposes=[wanted.value for wanted in purpose],
                notice=notice,
                adult=True,
                path="/v1/credentials",
            )
    issued = done(answer, ("credential", "credential_qr_png", "consent_receipt"))
    write_secret(out, issued.text("credential").encode() + b"\n")
    if qr is not None:
        write_secret(qr, b64decode(issued.text("credential_qr_png")))
    if receipt is not None:
        write_secret(receipt, json.dumps(issued.object("consent_receipt"), indent=2).encode())
    if as_json:
        print_json(issued.body)
        return
    for refused in issued.items("rejected"):
        remark(f"image {refused['index']} was not used: {refused['reason']}")
    fields({name: issued.text(name) for name in ("credential_id", "expires_at")})


@app.command()
def present(
    file: File,
    out: Annotated[Path, typer.Option(help="Write what to show here, mode 0600.", dir_okay=False)],
    with_flight: Annotated[bool, typer.Option("--with-flight", help="Also disclose the flight.")] = False,
    qr: Qr = None,
    as_json: AsJson = False,
) -> None:
    """Make what to show at a gate, by default without the flight; needs no service and no key."""
    from infra.credentials.qr import qr_png, qr_version
    from infra.credentials.sd_jwt import SdJwt

    whole = SdJwt.parse(credential_in(file))
    text = (whole if with_flight else whole.without("flight")).text
    write_secret(out, text.encode() + b"\n")
    if qr is not None:
        write_secret(qr, qr_png(text))
    facts = {"characters": len(text), "qr_version": qr_version(text)}
    if as_json:
        print_json(facts)
    else:
        fields(facts)


@app.command()
def verify(file: File, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Verify signature, expiry and revocation with what the site publishes. Exit code 0 only if it is in force."""
    with open_service(url) as service:
        try:
            credential, reason = _verified(credential_in(file), service)
        except NotPermitted:
            credential, reason = None, "credential_invalid"
    facts: dict[str, object] = {"valid": reason is None, "reason": reason}
    if credential is not None:
        facts |= {
            "credential_id": credential.id,
            "purposes": sorted(credential.purposes),
            "flight": credential.flight,
            "expires_at": credential.expires_at,
        }
    if as_json:
        print_json(facts)
    else:
        fields(facts)
    raise typer.Exit(ExitCode.OK if reason is None else ExitCode.NEGATIVE)


def _verified(text: str, service: Service) -> tuple[JourneyCredential, str | None]:
    """Return a genuine credential and why it is not in force, or None; raise as `read_credential` does."""
    from infra.credentials.jose import PublicKey
    from infra.credentials.journey import issuing_kid, read_credential
    from infra.credentials.status_list import is_revoked

    published = done(service.get("/.well-known/jwt-vc-issuer"), ("issuer", "jwks"))
    keys = published.object("jwks").get("keys")
    known = [PublicKey.of_jwk(jwk) for jwk in keys if isinstance(jwk, dict)] if isinstance(keys, list) else []
    if not known:
        raise MalformedInput("The site publishes no key.", code="malformed_key")
    kid = issuing_kid(text)
    site = published.text("issuer").removeprefix("https://")
    credential = read_credential(text, next((key for key in known if key.kid == kid), known[0]), site)
    if credential.expires_at <= datetime.now(UTC):
        return credential, "credential_expired"
    answer = done(service.get(f"/v1/status/{credential.epoch}"), ())
    revoked = is_revoked(answer.content.decode("ascii", "replace"), credential.place, known[0], site=site)
    return credential, "credential_revoked" if revoked else None


@app.command()
def revoke(
    file: File,
    receipt: Annotated[Path | None, typer.Option(help="Write the receipt here.", dir_okay=False)] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Withdraw consent: no gate admits with this credential from now on, with a signed receipt."""
    text = credential_in(file)
    with open_service(url) as service:
        answer = done(service.delete(f"/v1/credentials/{_id_of(text)}", key=text), ("receipt",))
    if receipt is not None:
        write_secret(receipt, json.dumps(answer.object("receipt"), indent=2).encode())
    if as_json:
        print_json(answer.body)
    else:
        proof = answer.object("receipt")
        fields({"revoked_at": proof["time"], "log_index": proof["log_index"], "receipt_id": proof["receipt_id"]})


def _id_of(text: str) -> str:
    """Return the id that a credential claims for itself; the service verifies it."""
    from infra.credentials.journey import claimed_place

    return claimed_place(text).id
