"""Turns a training run into what a site can serve: an ONNX file and its model card.

    python -m training.export_embedder RUN NAME [--figures FILE.json ...] [--speed FILE.json] [--history FILE]

The first export has no operating points, since those are measured through the whole pipeline with the exported file:

    dwarpal evaluate verification PAIRS.csv --images ZIP --cross --json --embedder FOLDER/NAME.json > figures.json

The second, with `--figures`, puts them on the card: at each rate the largest threshold of the given measurements
(bfloat16 and float32 differ in the fourth decimal), rounded up. `--speed` is what `dwarpal bench --json` printed, and
`--history` a text about what happened to this very checkpoint; both are for the card. `--blend 0.7 --teacher FILE.onnx`
takes 0.7 of the run's weights and 0.3 of the teacher's, with which it began: most of what training won on hard faces
stays, and what it lost on clean ones comes back (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import platform
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from pydantic import JsonValue
from torch import Tensor, nn

from biometrics.card import InputSpec, ModelCard, OperatingPoint
from biometrics.iresnet import IResNet, IResNetConfig
from training.mobilefacenet import MobileFaceNet, load_teacher, widened
from training.train_embedder import EMBEDDING_SIZE, TrainingConfig, input_scale

WEIGHTS = Path("biometrics/weights")
OPSET = 17
RATES = (1e-2, 1e-3, 1e-4, 1e-5)

LICENCE = (
    "Weights descend from MobileFaceNet (Apache-2.0; trained by its author on refined MS-Celeb-1M) and from public "
    "research images of CelebA and UTKFace type, whose terms allow non-commercial research; before commercial use, "
    "have counsel decide what that means for these weights, or train anew on images that you may use."
)

LIMITS = (
    "Nobody whose photograph is in the training data was asked: CelebA, UTKFace and MS-Celeb-1M were gathered from the "
    "web, and MS-Celeb-1M was withdrawn by its publisher.",
    "False-match rates differ between groups of people (docs/accuracy.md). The groups are UTKFace's labels, guessed by "
    "machine and checked by people, on old, small photographs; no claim about a group's rates at a real gate follows.",
    "False non-match rates by group are not known: no set at hand has groups and several photographs of a person.",
    "LFW shows celebrities, mostly from the United States and Europe, in daylight; gates are not like that.",
    "Children, siblings and twins were not measured.",
    "People whose training faces come near to a face of the evaluation set were left out by embedding, not by name.",
)


class UnitLength(nn.Module):
    """The network as it is served: the embedding has unit length."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed n x 3 x 112 x 112 normalized pixels as n x 512 unit vectors."""
        return nn.functional.normalize(self.network(pixels))


def build_network(config: TrainingConfig) -> nn.Module:
    """Build the network of a configuration, without weights."""
    if config.depth:
        return IResNet(IResNetConfig(config.depth, config.width, EMBEDDING_SIZE))
    return MobileFaceNet(EMBEDDING_SIZE)


def load_run(run: Path) -> tuple[nn.Module, TrainingConfig, int]:
    """Return the averaged network of a run, its configuration and the step that it reached."""
    state = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    config = TrainingConfig.from_checkpoint(state["config"])
    network = build_network(config)
    network.load_state_dict(state["average"])
    return network.eval(), config, int(state["step"])


def blended(network: nn.Module, config: TrainingConfig, teacher: MobileFaceNet, share: float) -> nn.Module:
    """Return a network with `share` of the trained weights, and the rest of those that the run began with.

    Raises `ValueError` if the run did not begin with the teacher's.
    """
    if config.depth:
        raise ValueError("only a network that continues from the teacher can be blended with it")
    began, _ = widened(teacher, EMBEDDING_SIZE, torch.Generator().manual_seed(config.seed))
    first, trained = began.state_dict(), network.state_dict()
    network.load_state_dict(
        {
            name: torch.lerp(first[name], value, share) if value.is_floating_point() else value
            for name, value in trained.items()
        }
    )
    return network


def onnx_bytes(network: nn.Module) -> bytes:
    """Export with unit length inside and the batch left open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs another package; this one serves networks of plain layers as well.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            UnitLength(network).eval(),
            (torch.zeros(2, 3, 112, 112),),
            cast(str, buffer),  # torch takes a file in memory too; only its annotation does not
            input_names=["face"],
            output_names=["embedding"],
            dynamic_axes={"face": {0: "n"}, "embedding": {0: "n"}},
            dynamo=False,
            opset_version=OPSET,
        )
    return buffer.getvalue()


def parity(content: bytes, network: nn.Module) -> float:
    """Return the smallest cosine between ONNX's own reference and torch, over noise of three kinds."""
    batch = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [0.3, 1.0, 2.0]
    ).view(3, 1, 1, 1)
    (answer,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"face": batch.numpy()})
    with torch.inference_mode():
        expected = UnitLength(network).eval()(batch).numpy()
    return float((np.asarray(answer) * expected).sum(axis=1).min())


def operating_points(figures: list[dict[str, JsonValue]]) -> tuple[OperatingPoint, ...]:
    """Return the thresholds of all comparisons: at each rate the largest measured, rounded up to four decimals."""
    points = []
    for rate in RATES:
        measured = [
            float(cast(float, point["threshold"]))
            for figure in figures
            for point in cast(list[dict[str, JsonValue]], cast(dict[str, JsonValue], figure["cross"])["points"])
            if point["rate"] == rate
        ]
        if measured:
            points.append(OperatingPoint(rate=rate, threshold=math.ceil(max(measured) * 1e4) / 1e4))
    return tuple(points)


def export(
    run: Path,
    name: str,
    folder: Path,
    figures: list[dict[str, JsonValue]],
    *,
    speed: dict[str, JsonValue] | None = None,
    history: str = "",
    teacher: MobileFaceNet | None = None,
    blend: float = 1.0,
) -> ModelCard:
    """Write `NAME.onnx` and `NAME.json`; raises `ArithmeticError` if ONNX does not compute what torch does."""
    network, config, step = load_run(run)
    if teacher is not None:
        network = blended(network, config, teacher, blend)
    content = onnx_bytes(network)
    agreement = parity(content, network)
    if agreement < 0.9999:
        raise ArithmeticError(f"the ONNX file and torch agree only to a cosine of {agreement:.5f}")
    mean, std = input_scale(config)
    kind = (
        f"IResNet-{config.depth}, width {config.width}"
        if config.depth
        else "MobileFaceNet (residual inverted bottlenecks)"
    )
    card = ModelCard(
        name=name,
        task="embedder",
        file=f"{name}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        architecture=f"{kind}; {EMBEDDING_SIZE}-D output of unit length, normalized in the graph; weights in float32",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        input=InputSpec(
            size=112,
            mean=mean,
            std=std,
            crop="face aligned by five landmarks to the ArcFace 112 x 112 template, RGB",
        ),
        output="embedding: n x 512 float32, unit length; compared by cosine",
        licence=LICENCE,
        training=_training(run, config, step, agreement)
        | ({"share_of_trained_weights": blend} if teacher is not None else {})
        | ({"history": history} if history else {}),
        evaluation={"file_bytes": len(content)}
        | ({"speed": speed} if speed else {})
        | {f"measurement_{number}": figure for number, figure in enumerate(figures, 1)},
        operating_points=operating_points(figures),
        limits=LIMITS,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / card.file).write_bytes(content)
    (folder / f"{name}.json").write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return card


def _training(run: Path, config: TrainingConfig, step: int, agreement: float) -> dict[str, JsonValue]:
    """Return how the weights came to be."""
    with (run / "log.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    steps = np.diff([0.0, *(float(line["step"]) for line in lines)])
    speeds = np.array([float(line["faces_per_second"]) for line in lines])
    return {
        "method": "ArcFace over people and distillation (embedding and pairwise cosines) from the teacher"
        + ("" if config.depth else ", whose weights the network continues from"),
        "teacher": "MobileFaceNet, 128-D, trained by its author on refined MS-Celeb-1M, Apache-2.0",
        "images": "faces-train (CelebA type, labelled) and faces-unlabelled (UTKFace, no identities)",
        "command": f"python -m training.train_embedder {config.preset}",
        "steps": step,
        "configuration": cast(JsonValue, asdict(config)),
        "seed": config.seed,
        "hardware": f"{config.threads} cores of an {platform.machine()} CPU, bfloat16"
        if config.device == "cpu"
        else config.device,
        "minutes": round(float((steps * config.batch / speeds).sum() / 60)),
        "onnx_torch_cosine": round(agreement, 7),
    }


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--figures", type=Path, nargs="*", default=[], help="JSON of `dwarpal evaluate verification`")
    parser.add_argument("--speed", type=Path, help="JSON of `dwarpal bench`")
    parser.add_argument("--history", type=Path, help="text file about this checkpoint")
    parser.add_argument("--blend", type=float, default=1.0, help="share of the trained weights, 0 to 1; with --teacher")
    parser.add_argument("--teacher", type=Path, help="ONNX file of the teacher")
    parser.add_argument("--folder", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    figures = [json.loads(path.read_text(encoding="utf-8")) for path in options.figures]
    speed = json.loads(options.speed.read_text(encoding="utf-8")) if options.speed else None
    history = " ".join(options.history.read_text(encoding="utf-8").split()) if options.history else ""
    card = export(
        options.run,
        options.name,
        options.folder,
        figures,
        speed=speed,
        history=history,
        teacher=load_teacher(options.teacher) if options.teacher else None,
        blend=options.blend,
    )
    print(f"{card.name}: {card.parameters:,} parameters, SHA-256 {card.sha256}")


if __name__ == "__main__":
    main()
