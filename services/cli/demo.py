"""`dwarpal demo`: the main job on real faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import ExitCode


def demo(
    save_svg: Annotated[
        Path | None, typer.Option("--save-svg", help="Write what the terminal showed to this SVG.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Enroll, pass three gates, refuse a stranger, a replay and a spoof, forget, and verify the log, over real HTTP."""
    from services.demo.run import run_demo

    raise typer.Exit(ExitCode.OK if run_demo(save_svg=save_svg, as_json=as_json) else ExitCode.NEGATIVE)
