"""Compares templates, and picks the threshold that measurements support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from biometrics.card import OperatingPoint
from biometrics.embedding import unit_rows
from biometrics.errors import ModelUnusable
from biometrics.types import Template


class Measured(Protocol):
    """A network of which somebody measured operating points: its model card, or a site's calibration record."""

    @property
    def name(self) -> str:
        """The network's name."""
        ...

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """Thresholds and the false-match rates that they were measured to give, in any order."""
        ...


def cosine(a: Template, b: Template) -> float:
    """Return the cosine of the angle between two templates, -1 to 1."""
    return float(np.clip(a.vector @ b.vector, -1.0, 1.0))


def mean_template(templates: Sequence[Template]) -> Template:
    """Return the unit-length mean of one or more templates of a subject; a copy even of a single one.

    Raises `ValueError` without templates, `ModelUnusable` if they cancel out.
    """
    if not templates:
        raise ValueError("a mean needs a template")
    total = np.stack([template.vector for template in templates]).sum(axis=0, keepdims=True)
    return Template(unit_rows(total)[0])


def threshold_at(measured: Measured, rate: float) -> float:
    """Return the cosine at or above which a comparison is accepted, for a false-match rate (FMR).

    Linear in the logarithm of the rate between the measured operating points; a rate above the largest measured
    one gets the threshold of the largest. Raises `ModelUnusable` below the smallest: nobody measured what
    happens there.
    """
    points = sorted(measured.operating_points, key=lambda point: point.rate)
    if not points:
        raise ModelUnusable(f"No operating points of {measured.name} were measured.")
    smallest = points[0].rate
    if not rate >= smallest * (1 - 1e-9):
        raise ModelUnusable(
            f"{measured.name} was measured down to a false-match rate of {smallest:g}, and {rate:g} was asked for. "
            "Thresholds are never extrapolated: measure it on more comparisons, or ask for less."
        )
    rates = [math.log(point.rate) for point in points]
    return float(np.interp(math.log(rate), rates, [point.threshold for point in points]))


def identification_rate(fpir: float, gallery_size: int) -> float:
    """Return the FMR a comparison may have so that a search of N templates keeps a false-positive rate (FPIR).

    FPIR = 1 - (1 - FMR)^N for independent comparisons, ISO/IEC 19795-1, so FMR = 1 - (1 - FPIR)^(1/N). An
    empty gallery counts as one template.
    """
    if not 0 < fpir < 1:
        raise ValueError("a false-positive identification rate lies between 0 and 1")
    return -math.expm1(math.log1p(-fpir) / max(1, gallery_size))
