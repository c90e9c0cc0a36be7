"""Trains again and again with something held out, and says how the PAD network does on just that.

    python -m training.pad_protocols [--cache FILE.npz] [--out FILE.json] [--plot FILE.svg] [--threads 2]

Domains: each collection is held out of everything, captures simulated from it included; `webcam-02` and `webcam-11`
show one person and are one. Species: each generator family is held out, and the people whose captures are scored are
in no training step either. People: the shipped split of `training/pad_split.py`. No threshold has seen what is held
out: for domains it is one half, where a network trained on evenly weighed classes says "as likely as not"; for
species and people the one for a BPCER of 5 % on the dev people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.progress import track

from biometrics.types import FloatArray
from evaluation.intervals import clopper_pearson
from evaluation.rates import PadScores
from training.export_pad import figures_of, report, threshold_at_bpcer
from training.pad_data import DEFAULT_CACHE, PadViews
from training.pad_network import scores_of
from training.pad_simulation import SIMULATED
from training.train_pad import TrainingConfig, fit

DOMAIN_THRESHOLD = 0.5
BPCER = 0.05
Scored = tuple[str, FloatArray, PadViews]


def sources_of(views: PadViews) -> NDArray[np.str_]:
    """Name the collection that each view comes from, be it a frame of it or a capture simulated from one."""
    base = np.char.replace(views.domain, "-simulated", "")
    return np.where(np.isin(base, ("webcam-02", "webcam-11")), "webcam-02/11", base)


def held_out_domain(views: PadViews, domain: str, config: TrainingConfig) -> Scored:
    """Score a collection with a network that has seen nothing of it."""
    source = sources_of(views)
    head = fit(views.where(source != domain), config)
    shown = views.where((source == domain) & (views.number == 0) & ~np.char.endswith(views.domain, "-simulated"))
    return domain, scores_of(head, shown.features), shown


def held_out_species(views: PadViews, species: str, config: TrainingConfig) -> tuple[Scored, float]:
    """Score a generator family with a network that has not seen it; with the threshold from the dev people."""
    head = fit(views.where((views.part == "train") & (views.species != species)), config)
    simulated = np.isin(views.species, ("bona_fide", species)) & (
        np.char.endswith(views.domain, "-simulated") | (views.domain == "faces")
    )
    dev, test = (views.where(simulated & (views.part == part)) for part in ("dev", "test"))
    alive = dev.where(dev.bona_fide)
    threshold = threshold_at_bpcer(scores_of(head, alive.features), np.full(len(alive.part), ""), BPCER)
    return (species, scores_of(head, test.features), test), threshold


def figures_at(scored: Scored, threshold: float) -> dict[str, JsonValue]:
    """Return the figures at a threshold, and the APCER where exactly the stated share of these people is refused."""
    _, scores, shown = scored
    figures = figures_of(report(scores, shown, threshold))
    alive, attacks = scores[shown.bona_fide], scores[~shown.bona_fide]
    if len(alive) and len(attacks):
        passed = int((attacks >= threshold_at_bpcer(alive, np.full(len(alive), ""), BPCER)).sum())
        interval = clopper_pearson(passed, len(attacks))
        figures["apcer_at_bpcer_5"] = round(passed / len(attacks), 4)
        figures["apcer_at_bpcer_5_ci95"] = [round(bound, 4) for bound in interval]
        figures["auc"] = round(float((attacks[:, None] < alive).mean() + (attacks[:, None] == alive).mean() / 2), 4)
    return figures


def by_domain(views: PadViews, config: TrainingConfig) -> Iterator[Scored]:
    """Hold out one collection after the other."""
    names = [name for name in np.unique(sources_of(views)).tolist() if name != "faces"]
    for name in track(names, description="domains"):
        yield held_out_domain(views, name, config)


def mean_acer(figures: Mapping[str, JsonValue | dict[str, JsonValue]]) -> dict[str, JsonValue]:
    """Return the mean ACER over the collections that have one; one class alone has only a BPCER."""
    rates = [value["acer"] for value in figures.values() if isinstance(value, dict) and value["acer"] is not None]
    return {"mean_acer": round(float(np.mean(np.array(rates, float))), 4), "domains_with_acer": len(rates)}


def draw(lines: list[Scored], path: Path) -> None:
    """Draw a DET curve for each domain and species held out."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # fixed names and no date: the same figures give the same bytes
    with mpl.rc_context({"svg.hashsalt": "dwarpal", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.5, 5), layout="constrained")
        axes = figure.add_subplot()
        styles = ("-", "--", "-.", ":")
        for number, (name, scores, shown) in enumerate(lines):
            alive, attacks = scores[shown.bona_fide].astype(float), scores[~shown.bona_fide].astype(float)
            if len(alive) and len(attacks):
                curve = PadScores(alive, {"all": attacks}).curve()
                style = styles[number // 4 % len(styles)]
                axes.plot(curve.false_accepts, curve.false_rejects, style, label=name, drawstyle="steps-post")
        axes.set(xlabel="APCER of what was held out", ylabel="BPCER", xlim=(0, 0.6), ylim=(0, 0.6))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value * 100:.0f} %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run all protocols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--out", type=Path, default=Path("runs/pad/protocols.json"))
    parser.add_argument("--plot", type=Path, default=None, help="draw the DET curves to this .svg file")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    views, config = PadViews.load(options.cache), TrainingConfig(threads=options.threads)
    domains = list(by_domain(views, config))
    species = [held_out_species(views, name, config) for name in track(SIMULATED, description="species")]
    people = held_out_people(views, config)
    by_name = {scored[0]: figures_at(scored, DOMAIN_THRESHOLD) for scored in domains}
    figures: dict[str, JsonValue] = {
        "command": "python -m training.pad_protocols",
        "people": {"nuaa": figures_at(*people), "threshold": "BPCER 5 % on the dev people of NUAA"},
        "domains": {**by_name, **mean_acer(by_name), "threshold": "0.5"},
        "species": {
            **{scored[0]: figures_at(scored, threshold) for scored, threshold in species},
            "threshold": "BPCER 5 % on simulated captures of the dev people",
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        draw([*domains, *(scored for scored, _ in species)], options.plot)
    print(json.dumps(figures, indent=1))


def held_out_people(views: PadViews, config: TrainingConfig) -> tuple[Scored, float]:
    """Score NUAA's test people with a network trained on the train part; threshold from NUAA's dev people."""
    head = fit(views.where(views.part == "train"), config)
    nuaa = (views.domain == "nuaa") & (views.number == 0)
    alive = views.where(nuaa & (views.part == "dev") & views.bona_fide)
    threshold = threshold_at_bpcer(scores_of(head, alive.features), np.full(len(alive.part), ""), BPCER)
    test = views.where(nuaa & (views.part == "test"))
    return ("nuaa, unseen people", scores_of(head, test.features), test), threshold


if __name__ == "__main__":
    main()
