"""Reports as JSON."""

from __future__ import annotations

from pydantic import JsonValue, TypeAdapter

_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def as_json(report: object) -> dict[str, JsonValue]:
    """Return a dataclass of figures as plain JSON values; intervals become [low, high], what is undefined null."""
    return _OBJECT.validate_json(TypeAdapter(type(report)).dump_json(report))
