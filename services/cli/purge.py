"""`dwarpal purge`: forget now what has expired, as the service does by itself."""

from __future__ import annotations

from dataclasses import asdict

import typer

from services.cli.options import AsJson, DataDir, storage_for
from services.cli.output import fields, print_json, progress_bar


def purge(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Erase what has expired, destroy the keys of ended epochs, once; safe beside a running service."""
    from infra.gallery import RotatedGallery
    from services.bootstrap import build_retention, build_rights
    from services.sweeper import tidy_and_sign

    storage = storage_for(context, data_dir)
    build_rights(storage).sweep()
    with progress_bar("Erasing expired templates") as progress:
        # A running service's galleries are in its own memory: its next sweep overwrites what is gone from the database.
        retention = build_retention(storage, RotatedGallery())
        purged = asdict(retention.purge(progress=lambda done: progress(done, None)))
        tidy_and_sign(storage)
    if as_json:
        print_json(purged)
    else:
        fields(purged)
