"""`dwarpal openapi`: write down the HTTP interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def openapi(
    file: Annotated[Path, typer.Argument(help="The file to write (JSON).", dir_okay=False)],
) -> None:
    """Write the OpenAPI description of the HTTP interface."""
    from infra.settings import Settings
    from services.api.app import create_app

    description = create_app(Settings()).openapi()
    file.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
