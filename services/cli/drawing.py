"""How plots look and where they go (needs matplotlib: the extra `demo`).

One palette serves paper and page: `services/cli/inline_svg.py` turns each of its colors into a CSS variable, so that a
plot in a report follows the reader's light or dark theme. The same figures give the same file, byte for byte.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.outcome import CommandFailed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

SUFFIXES = (".svg", ".png", ".pdf")

PALETTE = {
    "ink": "#1b1f27",
    "muted": "#596173",
    "grid": "#d8dce4",
    "main": "#1f4e79",
    "second": "#a84a07",
    "band": "#cbdbea",
    "shade": "#e6e3da",
    "shade-light": "#f3f1ec",
    "fill-second": "#e9b48c",
}
"""The colors by what they stand for; each is used for nothing else."""

SIZE = (340, 275)
"""Width and height of a plot in points: as wide as a phone, so that its letters stay readable there."""

SMALL_SIZE = (340, 205)
PIXELS_PER_INCH = 200

_STYLE: dict[RcKeyType, object] = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALETTE["grid"],
    "grid.linewidth": 0.5,
    "text.color": PALETTE["ink"],
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["ink"],
    "ytick.labelcolor": PALETTE["ink"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.4,
    "text.parse_math": False,  # a "$" in the name of a group or a condition is a letter
    "svg.hashsalt": "dwarpal",
}


def require_matplotlib() -> None:
    """Fail early, before minutes of work, if nothing can be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandFailed("A plot needs matplotlib: pip install 'dwarpal[demo]'.")


def check_plot_path(path: Path) -> None:
    """Fail early, before minutes of work, if a picture cannot be drawn there."""
    if path.suffix not in SUFFIXES:
        raise CommandFailed(f"A plot ends with {', '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise CommandFailed("The folder of the plot does not exist.")
    require_matplotlib()


def save(figure: Figure, path: Path) -> None:
    """Write a plot; its kind follows the name."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "dwarpal"}):
        dateless = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else {}
        figure.savefig(path, metadata=dateless, dpi=PIXELS_PER_INCH)


def svg_text(figure: Figure, salt: str) -> str:
    """Return a plot as SVG whose letters are text; `salt` makes its ids differ from those of other plots."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()


def printable(text: str) -> str:
    """Return a text without what no drawing can show, short enough to stand beside an axis."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return clean if len(clean) <= 24 else clean[:23] + "…"


@contextmanager
def new_plot(size: tuple[int, int] = SIZE) -> Iterator[tuple[Figure, Axes]]:
    """Give one empty plot in our style; it keeps the style after the block."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.grid(axis="y")
        yield figure, axes
