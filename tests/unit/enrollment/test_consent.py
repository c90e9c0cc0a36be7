"""The notice in its languages, and the rules that a consent must meet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from importlib.resources import files

import pytest
from pydantic import ValidationError

from biometrics.errors import Conflict, DwarpalError, MalformedInput, NotFound, NotPermitted
from biometrics.records import Consent, Purpose
from enrollment.consent import LANGUAGES, Notice, accept_consent
from tests.factories import NOON

NOTICE = Notice.in_language("en")


def consent(**changes: object) -> Consent:
    given: dict[str, object] = {
        "purposes": frozenset({Purpose.ENTRY}),
        "version": NOTICE.version,
        "sha256": NOTICE.sha256,
        "language": "en",
        "adult": True,
        "at": NOON,
    }
    return accept_consent(**(given | changes))  # type: ignore[arg-type]


def shape_of(value: object) -> object:
    """What is there, without the words."""
    if isinstance(value, dict):
        return {name: shape_of(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape_of(part) for part in value]
    return type(value).__name__


def texts_of(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


def test_there_is_a_notice_for_each_language_and_no_other() -> None:
    present = {file.name for file in files("enrollment").joinpath("notices").iterdir()}
    assert present == {f"{language}.json" for language in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_as_much(language: str) -> None:
    notice = Notice.in_language(language)
    assert notice.language == language
    assert notice.version == NOTICE.version
    assert [(p.id, p.optional) for p in notice.purposes] == [(p.id, p.optional) for p in NOTICE.purposes]
    assert {purpose.id for purpose in notice.purposes} == set(Purpose)
    assert shape_of(notice.model_dump(mode="json")) == shape_of(NOTICE.model_dump(mode="json"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_in_a_notice_is_empty_or_ticked_beforehand(language: str) -> None:
    raw = json.loads(files("enrollment").joinpath("notices", f"{language}.json").read_bytes())
    assert all(text.strip() for text in texts_of(raw))
    assert all(raw[name] for name in raw if name != "reviewed")
    assert all(purpose.optional for purpose in Notice.in_language(language).purposes)


SCRIPTS = {
    "Latn": "LATIN",
    "Deva": "DEVANAGARI",
    "Beng": "BENGALI",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Arab": "ARABIC",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notice_is_in_its_own_script_and_direction(language: str) -> None:
    notice = Notice.in_language(language)
    purposes = [text for purpose in notice.purposes for text in (purpose.title, purpose.text)]
    read = (notice.name, notice.title, notice.introduction, notice.retention, notice.sharing, notice.withdrawal)
    for text in (*read, notice.adults_only, *notice.data, *notice.rights, *notice.contacts, *purposes):
        letters = [c for c in text if c.isalpha()]
        assert all(unicodedata.name(c).startswith(SCRIPTS[notice.script]) for c in letters), text
        directions = {unicodedata.bidirectional(c) for c in letters}
        assert directions == ({"AL"} if notice.direction == "rtl" else {"L"}), text
        assert unicodedata.is_normalized("NFC", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_every_number(language: str) -> None:
    notice = Notice.in_language(language)
    for name in ("title", "introduction", "data", "retention", "rights", "withdrawal", "adults_only"):
        numbers = re.findall(r"\d+", str(getattr(notice, name)))
        assert sorted(numbers) == sorted(re.findall(r"\d+", str(getattr(NOTICE, name)))), name


def test_no_wording_claims_a_review_that_nobody_made() -> None:
    said = {language: Notice.in_language(language) for language in LANGUAGES}
    assert {language for language, notice in said.items() if notice.reviewed} == set()
    assert {language for language, notice in said.items() if notice.translation == "original"} == {"en"}
    assert all(notice.translation != "human" for notice in said.values())


def test_the_digest_changes_with_every_word_and_language() -> None:
    assert len({Notice.in_language(language).sha256 for language in LANGUAGES}) == len(LANGUAGES)
    assert NOTICE.model_copy(update={"sharing": "Nothing leaves this site"}).sha256 != NOTICE.sha256
    assert len(NOTICE.sha256) == 64


def test_a_notice_cannot_be_changed_in_passing_or_say_more_than_is_known() -> None:
    with pytest.raises(ValidationError):
        NOTICE.version = "x"
    with pytest.raises(ValidationError):
        Notice.model_validate({**NOTICE.model_dump(), "marketing": "yes"})


@pytest.mark.parametrize("language", ["fr", "", "EN", "../en", "en.json"])
def test_a_language_without_a_notice_is_not_found(language: str) -> None:
    with pytest.raises(NotFound):
        Notice.in_language(language)


def test_a_consent_remembers_what_was_read() -> None:
    purposes = frozenset({Purpose.ENTRY, Purpose.WALK_THROUGH})
    assert consent(purposes=purposes) == Consent(purposes, NOTICE.version, NOTICE.sha256, "en", NOON)


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"adult": False}, NotPermitted, "minor_to_officer"),
        ({"adult": False, "purposes": frozenset()}, NotPermitted, "minor_to_officer"),
        ({"purposes": frozenset()}, MalformedInput, "consent_missing"),
        ({"purposes": frozenset({Purpose.WALK_THROUGH})}, MalformedInput, "consent_missing"),
        ({"version": "2001-01"}, Conflict, "notice_outdated"),
        ({"sha256": "0" * 64}, Conflict, "notice_outdated"),
        ({"language": "hi"}, Conflict, "notice_outdated"),
        ({"language": "fr"}, NotFound, "not_found"),
    ],
)
def test_what_is_no_consent(changes: dict[str, object], error: type[DwarpalError], code: str) -> None:
    with pytest.raises(error) as caught:
        consent(**changes)
    assert caught.value.code == code
