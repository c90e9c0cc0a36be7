"""The consent notice, and the rules that turn what a traveller ticked into a `Consent`."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from biometrics.errors import Conflict, MalformedInput, NotFound, NotPermitted
from biometrics.records import GATE_PURPOSES, Consent, Purpose

LANGUAGES = ("en", "hi", "bn", "mr", "ta", "te", "ur")
"""ISO 639-1; but for English, all are of the Eighth Schedule of the Constitution of India."""


class NoticePurpose(BaseModel):
    """One purpose as the traveller reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Purpose
    title: str
    text: str
    optional: bool


class NoticeLanguage(BaseModel):
    """How a language's text is to be shown, and how far it can be relied on.

    `script` is an ISO 15924 code, `fonts` are families that carry it, the best first. `translation` says who wrote the
    wording, `reviewed` whether a person who speaks the language has approved it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    language: str
    name: str
    script: Literal["Latn", "Deva", "Beng", "Taml", "Telu", "Arab"]
    direction: Literal["ltr", "rtl"]
    fonts: tuple[str, ...]
    translation: Literal["original", "machine", "human"]
    reviewed: bool


class Notice(NoticeLanguage):
    """The itemised notice in one language (DPDP Act 2023 s.5, Rules 2025 Rule 3)."""

    title: str
    introduction: str
    purposes: tuple[NoticePurpose, ...]
    data: tuple[str, ...]
    retention: str
    sharing: str
    rights: tuple[str, ...]
    withdrawal: str
    adults_only: str
    contacts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON: what the consent receipt says was read."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    @cache
    def in_language(cls, language: str) -> Self:
        """Load the notice; raise `NotFound` for a language that we have no text in."""
        if language not in LANGUAGES:
            raise NotFound("The notice is not available in this language.")
        return cls.model_validate_json(files("enrollment").joinpath("notices", f"{language}.json").read_bytes())


def accept_consent(
    *, purposes: frozenset[Purpose], version: str, sha256: str, language: str, adult: bool, at: datetime
) -> Consent:
    """Check a consent against the notice in force and return it.

    Raises `MalformedInput` if no gate purpose was chosen, `Conflict` (`notice_outdated`) if another text was read, and
    `NotPermitted` (`minor_to_officer`) for a traveller under 18, who goes to the officer's lane.
    """
    if not adult:
        raise NotPermitted("Travellers under 18 are looked after by an officer.", code="minor_to_officer")
    if not purposes & GATE_PURPOSES:
        raise MalformedInput("Consent to at least one of entry, security and boarding.", code="consent_missing")
    notice = Notice.in_language(language)
    if (version, sha256) != (notice.version, notice.sha256):
        raise Conflict("The notice has changed: show the present one and ask again.", code="notice_outdated")
    return Consent(purposes, version, sha256, language, at)
