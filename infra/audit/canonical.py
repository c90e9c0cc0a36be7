"""Canonical JSON, the one spelling of what is hashed or signed: sorted keys, no spaces, ASCII, no floats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

JSON: TypeAlias = "str | int | bool | list[JSON] | dict[str, JSON] | None"
"""A JSON value without floats, whose spelling would differ between languages."""


def canonical(value: Mapping[str, JSON]) -> bytes:
    """Return the canonical bytes of a JSON object; raise `TypeError` for whatever is not `JSON`."""
    _refuse_floats(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("canonical JSON holds no floats")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON has only text as keys")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def utc_text(time: datetime) -> str:
    """Return an aware time in UTC with microseconds, `2025-03-01T12:00:00.000000Z`: always 27 characters."""
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
