"""Turns a trained PAD checkpoint into the network and the model card that serve.

    python -m training.export_pad [--run FOLDER] [--cache FILE.npz] [--weights FOLDER] [--history FILE]

Thresholds come from the dev people, figures from the test people and webcams. Those are in no training step and set no
threshold, but they are not blind: `LIMITS` says how often they were looked at. `--history` names a text about what
happened to this very checkpoint, for its card; the shipped network's is `training/pad_history.txt`.
"""

from __future__ import annotations

import argparse
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
from training.pad_data import DEFAULT_CACHE, PadCrops
from training.pad_network import PadArchitecture, PadMobileNet, PadScore
from training.pad_scores import MEAN, STD, scores_of
from training.pad_simulation import CONTEXT, SIZE

NAME = "mobilenetv3-small-pad"
WEIGHTS = Path("liveness/weights")
RUN = Path("runs/pad")
BPCERS = (0.01, 0.05, 0.07, 0.10)
REPORTED_BPCER = 0.07
OPSET = 17

LIMITS = (
    "A first network. The only real attacks in its training are prints of eight people (NUAA) and the replay-like "
    "frames of five small webcam collections; masks, make-up, cut-out prints and good displays are not among them.",
    "Not a blind test. The test people and collections were in no training step and set no threshold, but their scores "
    "were looked at three times while the network and its recipe were made; simulated captures of the two "
    "public-domain portraits led to the swapping of backgrounds and to the choice of the 7 % operating point. Expect "
    "worse on people and cameras that nobody has looked at.",
    "Three NUAA people, two webcam collections and simulated captures set the thresholds, and one person, nuaa0008, "
    "weighs most among them: read the threshold for a BPCER as a rough guide, and measure your own.",
    "On webcam collections that it was not trained on it is far worse than on NUAA: read `webcams_unseen`.",
    "Figures on simulated attacks say that the simulation is recognized, not that real prints and displays are.",
    "Frames of one collection are near-duplicates, so that the exact intervals are too narrow.",
    "No claim about Indian or any other group can be made from this data.",
    "Measured on single frames; a gate should also ask for the active challenge.",
)


def export(checkpoint: Path, crops: PadCrops, weights: Path, *, history: str = "") -> ModelCard:
    """Write `NAME.onnx` and `NAME.json`, where `history` stands under `training` if there is one.

    Raises `AssertionError` if the ONNX file does not score as torch does.
    """
    state = torch.load(checkpoint, weights_only=True)
    architecture = PadArchitecture(**state["config"]["architecture"])
    network = PadMobileNet(architecture)
    network.load_state_dict(state["average"])
    network.eval()
    content = onnx_bytes(network)
    check_parity(content, network)
    dev, test = crops.where(crops.part == "dev"), crops.where(crops.part == "test")
    points = operating_points(scores_of(network, dev), dev)
    card = ModelCard(
        name=NAME,
        task="pad",
        file=f"{NAME}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        architecture=f"MobileNetV3-small, width {architecture.width}, hidden layer {architecture.head}, one output",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        input=InputSpec(
            size=SIZE,
            mean=MEAN,
            std=STD,
            crop="square centered on the face box, eyes level, mirrored where it reaches past the image, RGB",
            context=CONTEXT,
        ),
        output="score: n x 1 float32, probability of bona fide, 0-1",
        licence="Apache-2.0 for code and architecture. The training images (NUAA, CelebA, UTKFace, webcam "
        "collections) are for non-commercial research: before commercial use, have counsel decide what that means "
        "for these weights, or train anew on images that you may use.",
        training=_training(crops, state["config"], int(state["step"]), history),
        evaluation=_evaluation(scores_of(network, test), test, points),
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
        torch.onnx.export(
            PadScore(network).eval(),
            (torch.zeros(2, 3, SIZE, SIZE),),
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
    batch = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    (answer,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"face": batch.numpy()})
    ours = np.asarray(answer, dtype=np.float32)
    with torch.inference_mode():
        theirs = PadScore(network).eval()(batch).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def operating_points(scores: FloatArray, dev: PadCrops) -> tuple[OperatingPoint, ...]:
    """Return the thresholds that refuse the named shares of the dev people's bona fide captures."""
    bona_fide, domains = scores[dev.bona_fide], dev.domain[dev.bona_fide]
    return tuple(OperatingPoint(rate=rate, threshold=threshold_at_bpcer(bona_fide, domains, rate)) for rate in BPCERS)


def threshold_at_bpcer(scores: FloatArray, domains: NDArray[np.str_], rate: float) -> float:
    """Return the highest threshold that refuses at most `rate` of bona fide scores, each domain counting the same."""
    names, where, sizes = np.unique(domains, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    refused = np.cumsum(1.0 / sizes[where[order]]) / len(names)
    return float(scores[order][min(int(np.searchsorted(refused, rate, side="right")), len(scores) - 1)])


def report(scores: FloatArray, crops: PadCrops, threshold: float) -> LivenessReport:
    """Return the figures of scored crops at a threshold."""
    scored = tuple(
        Scored(Presentation("", bool(bona_fide), species, subject, domain), bool(score >= threshold), float(score))
        for score, bona_fide, species, subject, domain in zip(
            scores, crops.bona_fide, crops.species.tolist(), crops.subject.tolist(), crops.domain.tolist(), strict=True
        )
    )
    return liveness_report(Assessed(scored, (), ()))


def _evaluation(scores: FloatArray, test: PadCrops, points: tuple[OperatingPoint, ...]) -> dict[str, JsonValue]:
    """Return the figures on unseen people, unseen webcams, and simulated captures of unseen people."""
    threshold = next(point.threshold for point in points if point.rate == REPORTED_BPCER)
    simulated = (test.domain == "faces") | np.char.endswith(test.domain, "-simulated")
    webcam = np.char.startswith(test.domain, "webcam") & ~simulated
    sets = {"nuaa_unseen_people": test.domain == "nuaa", "webcams_unseen": webcam}
    sets |= {domain: test.domain == domain for domain in np.unique(test.domain[webcam]).tolist()}
    sets |= {"faces_simulated": test.domain == "faces", "live_frames_simulated": simulated & (test.domain != "faces")}
    figures: dict[str, JsonValue] = {
        "command": "python -m training.export_pad",
        "note": f"at the operating point of BPCER {REPORTED_BPCER} on dev people; crops as the gate cuts them; 95 % "
        "intervals: APCER and BPCER exact (Clopper and Pearson), ACER and EER bootstrapped by subject",
    }
    for name, mask in sets.items():
        figures[name] = _as_json(report(scores[mask], test.where(mask), threshold))
    return figures


def _as_json(figures: LivenessReport) -> JsonValue:
    """Return the parts of a report that belong on a card."""
    interval = figures.ci95
    rates: dict[str, object] = {
        "n": figures.n_scored,
        "apcer": {name: _rounded(rate) for name, rate in figures.apcer.items()},
        "apcer_ci95": {name: [_rounded(v) for v in bounds or ()] for name, bounds in interval.apcer.items()},
        "apcer_max": _rounded(figures.apcer_max),
        "bpcer": _rounded(figures.bpcer),
        "bpcer_ci95": [_rounded(v) for v in interval.bpcer or ()],
        "bpcer20": _rounded(figures.bpcer20),
        "acer": _rounded(figures.acer),
        "eer": _rounded(figures.eer),
    }
    return cast(JsonValue, json.loads(json.dumps(rates)))


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def _training(crops: PadCrops, config: dict[str, JsonValue], steps: int, history: str) -> dict[str, JsonValue]:
    """Return what the network has learned from, and how."""
    learn = crops.where(crops.part == "train")
    names, counts = np.unique(learn.species, return_counts=True)
    nuaa = learn.domain == "nuaa"
    people, living = np.unique(learn.subject[nuaa]), np.unique(learn.subject[nuaa & learn.bona_fide])
    webcams = [name for name in np.unique(learn.domain).tolist() if _is_webcam(name)]
    learned: dict[str, JsonValue] = {
        "command": "make train-pad ARGS='--data FOLDER'",
        "data": f"NUAA ({len(people)} ids, {len(living)} of them live), {len(webcams)} webcam collections, and "
        "simulated captures, prints and displays made from their living frames and from aligned faces of CelebA type "
        "and UTKFace",
        "crops": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "split": "by person; webcam collections whole: see training/pad_split.py",
        "steps": steps,
        "config": config,
    }
    return learned | ({"history": history} if history else {})


def _is_webcam(domain: str) -> bool:
    """Say whether a domain is a webcam collection itself, not what was simulated from its frames."""
    return domain.startswith("webcam") and not domain.endswith("-simulated")


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--history", type=Path, default=None, help="text file about this checkpoint, for the card")
    options = parser.parse_args()
    history = "" if options.history is None else " ".join(options.history.read_text(encoding="utf-8").split())
    card = export(options.run / "checkpoint.pt", PadCrops.load(options.cache), options.weights, history=history)
    print(json.dumps(card.evaluation, indent=1))


if __name__ == "__main__":
    main()
