"""The catalogs say everything that the templates say, in every language; and which language is shown."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from fastapi import Request

from enrollment.consent import LANGUAGES
from services.web.words import LANGUAGE_COOKIE, catalog, language_of

LOCALE = Path("services/web/locale")
TRANSLATED = sorted(file.stem for file in LOCALE.glob("*.po"))


@cache
def said() -> frozenset[str]:
    """Return every text of the templates."""
    found = extract_from_dir(
        "services/web/templates", [("**.j2", "jinja2")], options_map={"**.j2": {"silent": "false"}}
    )
    return frozenset(str(message) for _, _, message, _, _ in found)


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_and_none_is_left_over(language: str) -> None:
    with (LOCALE / f"{language}.po").open("rb") as file:
        messages = read_po(file, locale=language)
    assert {str(message.id) for message in messages if message.id} == said()
    for message in messages:
        if message.id:
            assert message.string, message.id
            assert not message.fuzzy
            placeholders = [sorted(re.findall(r"%\(\w+\)s|\{\w\}", text)) for text in (message.id, message.string)]
            assert placeholders[0] == placeholders[1], message.id


def test_the_catalogs_are_in_use() -> None:
    assert catalog("hi").gettext("Begin") == "शुरू करें"
    assert catalog("en").gettext("Begin") == "Begin"
    assert set(TRANSLATED) == set(LANGUAGES) - {"en"}
    for language in TRANSLATED:
        assert catalog(language).gettext("Welcome") != "Welcome"


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "shown"),
    [
        ("lang=ta", "hi", "bn", "ta"),
        ("lang=xx", "hi", "bn", "hi"),
        ("", "xx", "bn-IN,bn;q=0.9,en;q=0.8", "bn"),
        ("", "", "hi-IN,hi;q=0.9,en", "hi"),
        ("", "", "de,fr;q=0.5", "en"),
        ("", "", "'\"><script>;q=x,,;", "en"),
        ("", "", "", "en"),
        ("lang=" + "a" * 5000, "b" * 5000, "c" * 5000, "en"),
    ],
)
def test_the_link_wins_then_the_choice_then_the_browser(query: str, cookie: str, accepted: str, shown: str) -> None:
    headers = [(b"cookie", f"{LANGUAGE_COOKIE}={cookie}".encode()), (b"accept-language", accepted.encode())]
    request = Request({"type": "http", "query_string": query.encode(), "headers": headers})
    assert language_of(request) == shown
