"""Everything that is held about a traveller and every use of it, for the traveller: as JSON, or as a page to read.

Neither a template nor a score is in it: the first is described, the second does not exist outside a check.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from biometrics.records import EnrollmentRecord, epoch_end
from enrollment.consent import Notice
from infra.settings import Settings
from services.api.enrolling import flags_of
from services.api.rights_schemas import RightsDetail
from services.api.schemas import Activity, Id

if TYPE_CHECKING:
    from jinja2 import Template

ALSO_HELD = (
    "A SHA-256 check value of your travel token's key share, to recognize you; it opens nothing.",
    "If the desk asked for it, a copy of the answer to your enrollment, for 24 hours, sealed so that only the desk's "
    "own key opens it.",
)


class HeldFace(BaseModel):
    """What is said about the template; its numbers are not in here."""

    what: str = "512 numbers computed from your face, encrypted"
    network: str = Field(description="SHA-256 of the network that computed them")
    opens_with: list[str] = Field(examples=[["your travel token"]])
    erased_at: datetime
    keys_destroyed_by: datetime


class HeldConsent(BaseModel):
    """What was agreed to."""

    purposes: dict[str, str] = Field(description="each purpose and its title in the notice that was read")
    notice_version: str
    notice_sha256: str
    language: str
    given_at: datetime


class AccessReport(BaseModel):
    """Everything held, and every use (DPDP Act s.11; GDPR art.15)."""

    site: str
    generated_at: datetime
    enrollment_id: Id
    flight: str
    departs_at: datetime | None
    enrolled_at: datetime
    expires_at: datetime
    flags: list[str]
    failed_checks: int
    locked_until: datetime | None
    consent: HeldConsent
    face: HeldFace
    requests: list[RightsDetail]
    uses: list[Activity] = Field(description="every processing, from the audit log")
    also_held: list[str]
    log_kept_days: int = Field(description="how long the log of uses is kept at least, under a pseudonym")
    region: str | None = Field(description="the region that the data do not leave, where one is declared")
    recipients: list[str] = Field(description="to whom anything was passed on")
    rights: list[str]
    withdrawal: str
    contacts: list[str]


def access_report(
    record: EnrollmentRecord, *, settings: Settings, now: datetime, uses: list[Activity], requests: list[RightsDetail]
) -> AccessReport:
    """Put together what is held of an enrollment."""
    notice, consent = Notice.in_language(record.consent.language), record.consent
    opens_with = ["your travel token"]
    if record.sealed.for_gallery is not None:
        opens_with.append("the gate server, for walking through without the token, as you agreed")
    return AccessReport(
        site=settings.site,
        generated_at=now,
        enrollment_id=record.id,
        flight=record.flight,
        departs_at=record.departs_at,
        enrolled_at=record.enrolled_at,
        expires_at=record.expires_at,
        flags=flags_of(record),
        failed_checks=record.failed_checks,
        locked_until=record.locked_until,
        consent=HeldConsent(
            purposes={purpose.id: purpose.title for purpose in notice.purposes if purpose.id in consent.purposes},
            notice_version=consent.notice_version,
            notice_sha256=consent.notice_sha256,
            language=consent.language,
            given_at=consent.given_at,
        ),
        face=HeldFace(
            network=record.model_digest,
            opens_with=opens_with,
            erased_at=record.expires_at,
            keys_destroyed_by=epoch_end(record.epoch),
        ),
        requests=requests,
        uses=uses,
        also_held=list(ALSO_HELD),
        log_kept_days=settings.effective_log_retention_days,
        region=settings.region or None,
        recipients=[],
        rights=list(notice.rights),
        withdrawal=notice.withdrawal,
        contacts=list(notice.contacts),
    )


def report_page(report: AccessReport) -> tuple[str, str]:
    """Return the page, which loads nothing, and the Content-Security-Policy under which it may be shown."""
    style, page = _page()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.render(report=report, notice=Notice.in_language(report.consent.language), style=style), policy


@cache
def _page() -> tuple[str, Template]:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("services.api"), autoescape=True, undefined=StrictUndefined)
    environment.filters["time"] = lambda at: "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return environment.get_template("access_report.css.j2").render(), environment.get_template("access_report.html.j2")
