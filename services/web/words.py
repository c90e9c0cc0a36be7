"""The words of the pages: gettext catalogs in `locale/`, one per language; English stands in the templates."""

from __future__ import annotations

import gettext
from functools import cache
from importlib.resources import files
from io import BytesIO

from babel import Locale, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from fastapi import Request

from enrollment.consent import LANGUAGES

LANGUAGE_COOKIE = "dwarpal-language"


@cache
def catalog(language: str) -> gettext.NullTranslations:
    """Return the words of a language, read from its text form, so that no compiled catalog can fall behind.

    A language without a catalog has the English words around its notice.
    """
    source = files("services.web").joinpath("locale", f"{language}.po")
    if not source.is_file():
        return gettext.NullTranslations()
    with source.open("rb") as file:
        messages = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def locale_of(language: str) -> Locale:
    """Return how a language writes dates and numbers."""
    return Locale.parse(f"{language}_IN")


def language_of(request: Request) -> str:
    """Return the language to answer in: what the link asks for, what was chosen before, or what the browser wants."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    wanted = [part.partition(";")[0].strip() for part in request.headers.get("accept-language", "").split(",")]
    return negotiate_locale([tag for tag in wanted if tag.isascii()], LANGUAGES, sep="-") or "en"
