"""Plots: the same figures give the same file, and hostile or missing figures give a plot all the same."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation.intervals import Interval
from evaluation.rates import ErrorCurve, VerificationScores
from services.cli import drawing, plots
from services.cli.inline_svg import inline
from services.cli.outcome import CommandFailed
from services.cli.plots import Line
from tests.unit.services.cli.report_figures import HOSTILE


def a_curve(mated: int = 50, non_mated: int = 50) -> ErrorCurve:
    rng = np.random.default_rng(3)
    return VerificationScores(rng.normal(0.6, 0.2, mated), rng.normal(0.0, 0.2, non_mated)).curve()


@pytest.mark.parametrize("draw", [plots.draw_det, plots.draw_roc])
def test_files_are_the_same_each_time(tmp_path: Path, draw) -> None:
    for name in ("a.svg", "b.svg", "a.png", "b.png", "a.pdf", "b.pdf"):
        draw(a_curve(), 50, tmp_path / name)
    for kind in ("svg", "png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(("mated", "non_mated"), [(0, 10), (10, 0), (1, 1)])
def test_a_curve_without_one_kind_of_pair_is_drawn(tmp_path: Path, mated: int, non_mated: int) -> None:
    plots.draw_det(a_curve(mated, non_mated), non_mated, tmp_path / "det.svg")
    plots.draw_roc(a_curve(mated, non_mated), non_mated, tmp_path / "roc.svg")
    assert (tmp_path / "roc.svg").stat().st_size > 1000


def test_a_path_that_cannot_be_drawn_to_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "det.txt", tmp_path / "nowhere" / "det.svg"):
        with pytest.raises(CommandFailed):
            drawing.check_plot_path(path)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandFailed, match=r"dwarpal\[demo\]"):
        drawing.check_plot_path(tmp_path / "det.svg")


def test_hostile_names_become_text_in_plots() -> None:
    for figure in (
        plots.group_plot([HOSTILE, "b"], [0.1, None], [Interval(0.0, 0.2), None], 0.05),
        plots.condition_plot(["clean", HOSTILE], [Line("line", [0.9, None])], 0.0),
    ):
        svg = inline(drawing.svg_text(figure, "x"), name="x", title=HOSTILE.replace("\x07", ""), description="d")
        root = ElementTree.fromstring(svg)
        assert not list(root.iter("script"))
        assert any("<script>" in (element.text or "") for element in root.iter("text"))


def test_an_inline_plot_has_themed_colors_no_styles_and_ids_of_its_own() -> None:
    figure = plots.gallery_plot([100, 1000], [Line("FNIR", [0.1, 0.2], [Interval(0.05, 0.15), None])])
    svg = inline(drawing.svg_text(figure, "galleries"), name="galleries", title="T", description="D")
    root = ElementTree.fromstring(svg)
    assert not any("style" in element.attrib or element.tag == "style" for element in root.iter())
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert "var(--main)" in svg
    assert "http" not in svg
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("galleries-") for name in ids)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]*)', svg):
        assert reference in ids


def test_every_color_has_a_variable_in_both_themes() -> None:
    style = (Path(plots.__file__).parent / "templates" / "report.css.j2").read_text()
    for name in drawing.PALETTE:
        assert style.count(f"--{name}:") == 3, name  # light, dark, paper
    assert len(set(drawing.PALETTE.values())) == len(drawing.PALETTE)
