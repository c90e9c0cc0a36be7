"""Draws the detection error trade-off of a verification run (needs matplotlib: the extra `demo`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from evaluation.rates import ErrorCurve
from services.cli.outcome import CommandFailed

SUFFIXES = (".svg", ".png", ".pdf")


def check_plot_path(path: Path) -> None:
    """Fail early, before minutes of work, if a picture cannot be drawn there."""
    if path.suffix not in SUFFIXES:
        raise CommandFailed(f"A plot ends with {', '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise CommandFailed("The folder of the plot does not exist.")
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandFailed("A plot needs matplotlib: pip install 'dwarpal[demo]'.")


def draw_det(curve: ErrorCurve, n_non_mated: int, path: Path) -> None:
    """Write the DET curve, false rejects over false accepts on logarithmic axes; no score is readable from it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.step(curve.false_accepts, curve.false_rejects, where="pre", color="#1f4e79")
    axes.axvline(3 / n_non_mated, linestyle=":", color="gray", label="left of this the sample says nothing (rule of 3)")
    axes.set(xscale="log", yscale="log", xlabel="false-accept rate", ylabel="false-reject rate")
    axes.set(xlim=(1 / n_non_mated, 1), ylim=(1e-3, 1))
    axes.grid(which="both", linewidth=0.3)
    axes.legend(loc="lower left", fontsize=7)
    figure.savefig(path, metadata={"Date": None} if path.suffix in (".svg", ".pdf") else {})
