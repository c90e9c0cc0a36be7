"""Renders the figures of an evaluation as one HTML file that needs no script, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evaluation.goals import judge
from evaluation.report import ReportFigures, measured, percent_name
from services.cli import report_words as words
from services.cli.report_plots import family_plots, page_plots

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE, STYLE = "report.html.j2", "report.css.j2"
MAX_NAMED = 500
"""Failures to acquire that the page names; the JSON beside it names all."""


def render(figures: ReportFigures, thumbnails: Mapping[str, str] | None = None) -> str:
    """Return the page; `thumbnails` (data URIs of the failed pairs' photographs by id) make it hold pictures.

    Every text from outside is escaped. The content security policy allows the page's own style sheet and, with
    thumbnails, its own pictures, and nothing else.
    """
    environment = _environment()
    style = environment.get_template(STYLE).render().strip()
    verdicts = judge(figures.goals, measured(figures))
    return environment.get_template(PAGE).render(
        figures=figures,
        style=style,
        policy=_policy(style, pictures=bool(thumbnails)),
        thumbnails=thumbnails or {},
        summary=words.summary(figures),
        verdicts=verdicts,
        verdict_line=words.verdict_line(verdicts),
        outcomes=words.OUTCOMES,
        declared={point.rate: point.threshold for point in figures.provenance.network.operating_points},
        families=family_plots(figures.robustness),
        plots=page_plots(figures),
        max_named=MAX_NAMED,
    )


def _policy(style: str, *, pictures: bool) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = "; img-src data:" if pictures else ""
    return f"default-src 'none'; style-src 'sha256-{digest}'{images}; base-uri 'none'; form-action 'none'"


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("services.cli"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters |= {
        "percent": words.percent,
        "interval": words.interval,
        "points": words.points,
        "points_interval": words.points_interval,
        "ratio": words.ratio,
        "ratio_interval": words.ratio_interval,
        "cosine": words.cosine,
        "count": words.count,
        "id": words.identifier,
        "support": words.support,
        "day": words.day,
        "one_in": words.one_in,
        "rate": percent_name,
    }
    environment.globals |= {
        "goal_name": words.goal_name,
        "group_interval": words.group_interval,
        "goal_value": words.goal_value,
        "goal_interval": words.goal_interval,
    }
    return environment
