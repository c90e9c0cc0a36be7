"""The report: complete, escaped, self-contained, and without pictures unless somebody asked for them."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluation.report import ReportFigures
from services.cli.report_page import render
from tests.unit.services.cli.report_figures import (
    HOSTILE,
    small_figures,
    some_conditions,
    some_galleries,
    some_groups,
)

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements with their attributes, and holds that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def figures() -> ReportFigures:
    return small_figures()


@pytest.fixture(scope="module")
def full(figures: ReportFigures) -> ReportFigures:
    return replace(
        figures,
        groups=some_groups("white", "indian", "other"),
        robustness=some_conditions("light/gamma-3", "light/gamma-4", "jpeg/q20"),
        identification=some_galleries(),
    )


def test_every_figure_appears(full: ReportFigures) -> None:
    text = Page(render(full)).text.replace("\N{NO-BREAK SPACE}", " ")
    pairs = full.verification
    assert pairs.accuracy is not None
    assert full.cross is not None
    assert f"{pairs.accuracy * 100:.2f} %" in text
    assert full.provenance.network.sha256 in text
    assert "1 March 2026, 12:30 UTC" in text
    assert "dwarpal evaluate report --pairs pairs.csv" in text
    for point in full.cross.points:
        assert f"{point.threshold:.4f}".replace("-", "−") in text
    for shown in ("2.50 times", "1.50 to 4.00", "12.34 %", "23.45 %", "100,000 templates", "+3.00", "dark.webp"):
        assert shown in text, shown
    assert "0.9000, kept" in text
    assert "−0.9000, too low for this data" in text


@pytest.mark.parametrize(
    "absent",
    ["failures", "cross", "groups", "robustness", "identification", "curve", "cross_curve", "goals", "accuracy"],
)
def test_any_part_may_be_missing(full: ReportFigures, absent: str) -> None:
    changes: dict[str, object] = {absent: () if absent in ("curve", "cross_curve", "goals") else None}
    if absent == "accuracy":
        pairs = full.verification
        nothing: dict[str, float | None] = dict.fromkeys(pairs.tar_at_far)
        bare = replace(pairs.ci95, accuracy=None, eer=None, tar_at_far=dict.fromkeys(pairs.tar_at_far))
        changes = {
            "verification": replace(pairs, accuracy=None, eer=None, tar_at_far=nothing, threshold=nothing, ci95=bare)
        }
    assert "Failed pairs" in Page(render(replace(full, **changes))).text


def test_nothing_but_pairs(figures: ReportFigures) -> None:
    bare = replace(figures, cross=None, cross_curve=(), failures=None, goals=(), curve=())
    page = Page(render(bare))
    assert "no claim about any group" in page.text
    assert len(page.all("svg")) == 1  # the distribution of cosines


def test_hostile_ids_are_only_text(full: ReportFigures) -> None:
    measured = small_figures(HOSTILE)
    hostile = replace(
        measured,
        groups=some_groups(HOSTILE, "other", "third"),
        robustness=some_conditions(f"light/{HOSTILE}", f"{HOSTILE}/x"),
        provenance=replace(full.provenance, command=HOSTILE, version=HOSTILE, measured_at=HOSTILE),
    )
    for thumbnails in ({}, {HOSTILE: "data:image/jpeg;base64,AAAA"}):
        page = Page(render(hostile, thumbnails))
        assert page.all("script") == []
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert "<script>alert('$x$')</script>\"&" in page.text
        assert "\u202e" not in page.text
        assert "\x07" not in page.text


def test_the_page_refers_to_nothing_outside(full: ReportFigures) -> None:
    text = render(full)
    page = Page(text)
    assert not re.search(r"https?:|//|@import|\burl\((?!#)", text)
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("href", "src")]
    assert links
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(link and link[0] == "#" and link[1:] in ids for link in links)
    for reference in re.findall(r"url\(#([^)]*)\)", text):
        assert reference in ids


def test_the_policy_allows_the_page_and_nothing_else(full: ReportFigures) -> None:
    text = render(full)
    page = Page(text)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert text.count("<style") == 1
    assert not any("style" in attributes for _, attributes in page.elements)


def test_no_picture_unless_asked(full: ReportFigures) -> None:
    assert full.failures is not None
    without = render(full)
    assert "<img" not in without
    assert "data:image" not in without
    assert "holds photographs" not in without
    shown = full.failures.false_rejects[0].image_a
    page = Page(render(full, {shown: "data:image/jpeg;base64,AAAA"}))
    assert [image["src"] for image in page.all("img")] == ["data:image/jpeg;base64,AAAA"]
    assert page.all("img")[0]["alt"] == f"Photograph {shown}"
    assert "This file holds photographs of people." in page.text
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "img-src data:" in policy


def test_tables_and_plots_speak_to_those_who_do_not_see_them(full: ReportFigures) -> None:
    page = Page(render(full))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    ids = {attributes.get("id") for _, attributes in page.elements}
    for plot in page.all("svg"):
        assert plot["role"] == "img"
        assert plot["aria-labelledby"] is not None
        assert set(plot["aria-labelledby"].split()) <= ids
    assert len(page.all("svg")) == 7  # ROC, DET, cosines, groups, two families of conditions, galleries


def test_the_same_figures_give_the_same_page(full: ReportFigures) -> None:
    assert render(full) == render(full)


def test_lists_say_what_they_leave_out(figures: ReportFigures) -> None:
    assert figures.failures is not None
    many = replace(figures.failures, n_false_rejects=77)
    assert "The worst 5 are listed." in Page(render(replace(figures, failures=many))).text
    none = replace(figures.failures, n_false_accepts=0, false_accepts=(), n_false_rejects=0, false_rejects=())
    text = Page(render(replace(figures, failures=none))).text
    assert "No pair of the same person was refused." in text
    assert "No pair of different people was accepted." in text
    nobody = replace(figures.verification, without_face=tuple(f"{i}.webp" for i in range(600)))
    assert "100 more are in the JSON file" in Page(render(replace(figures, verification=nobody))).text
