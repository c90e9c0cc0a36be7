"""What people see of a demonstration: one line a step, then a summary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NARROWEST, WIDEST = 90, 124
"""Columns that the demonstration takes of a terminal; where there is none, the widest."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: what, what should come of it, what came of it, and the milliseconds it took."""

    what: str
    expected: str
    got: str
    milliseconds: float

    @property
    def ok(self) -> bool:
        """Whether it came as expected."""
        return self.got == self.expected


class Show:
    """Collects steps and prints them as they happen."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        terminal = Console(stderr=to_stderr)
        width = min(max(terminal.width, NARROWEST), WIDEST) if terminal.is_terminal else WIDEST
        self.console = Console(record=True, stderr=to_stderr, width=width, highlight=False)
        self.steps: list[Step] = []
        self._started = perf_counter()

    @property
    def ok(self) -> bool:
        """Whether every step came as expected."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self._started

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.console.print()
        self.console.print(Text(title, style="bold cyan"))

    def say(self, text: str) -> None:
        """Print something to read."""
        self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 2)))

    def step(self, what: str, *, expected: str, got: str, milliseconds: float) -> bool:
        """Print one step and say whether it came as expected."""
        step = Step(what, expected, got, milliseconds)
        self.steps.append(step)
        line = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1), expand=True)
        line.add_column(width=2, justify="right")
        line.add_column(ratio=1)
        line.add_column(width=41)
        line.add_column(width=9, justify="right")
        mark = Text("✓", style="bold green") if step.ok else Text("✗", style="bold red")
        outcome = Text(got, style="green") if step.ok else Text(f"{got}, expected {expected}", style="red")
        line.add_row(mark, what, outcome, Text(f"{milliseconds:,.0f} ms", style="dim"))
        self.console.print(line)
        return step.ok

    def summary(self) -> None:
        """Print how it ended."""
        right = sum(step.ok for step in self.steps)
        self.console.print()
        style = "bold green" if self.ok else "bold red"
        verdict = "every one as promised" if self.ok else f"{len(self.steps) - right} NOT as promised"
        self.console.print(Text(f"{len(self.steps)} steps, {verdict}, in {self.seconds:.1f} s", style=style))

    def save_svg(self, path: Path) -> None:
        """Write what was shown as an SVG that fetches nothing, no font either."""
        drawn = self.console.export_svg(title="make demo", clear=False)
        path.write_text(re.sub(r"@font-face\s*{.*?}", "", drawn, flags=re.DOTALL), encoding="utf-8")
