"""Options that many commands share, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.settings import Settings
    from services.bootstrap import Storage

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder of the database and the keys; wins over DWARPAL_DATA_DIR.", file_okay=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def settings_for(context: typer.Context, data_dir: Path | None) -> Settings:
    """Read the settings; `--data-dir` after the command wins over the one before it, and both over the environment."""
    from infra.settings import Settings

    chosen = data_dir if data_dir is not None else context.find_root().obj
    return Settings(data_dir=chosen) if isinstance(chosen, Path) else Settings()


def storage_for(context: typer.Context, data_dir: Path | None) -> Storage:
    """Open database, keys and log, migrated to the present schema; the command's end closes the database."""
    from services.bootstrap import build_storage

    storage = build_storage(settings_for(context, data_dir))
    context.call_on_close(storage.engine.dispose)
    return storage
