"""Trains the decoder that turns embeddings back into faces, to measure what a stolen template gives away.

    python -m training.train_inversion --data FOLDER [--run FOLDER] [--resume] [--steps N] [--rotated] [--cache FILE]

The loss is the distance of pixels and that of embeddings, through the shipped network itself: this thief has it, and
the photographs of thousands of other people. With `--rotated` the thief has a whole gallery of theirs, under a rotation
of its own, which is written to `RUN/rotation.npy`. Writes `RUN/checkpoint.pt`, `RUN/log.csv` and `RUN/decoder.onnx` for
`dwarpal evaluate inversion`. The decoder is an attack tool and no part of the product: do not publish it.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from biometrics.types import EMBEDDING_SIZE, FloatArray
from training.inversion_data import InversionData, load_embedder, load_inversion_data
from training.inversion_decoder import Decoder, enlarged, onnx_bytes
from training.mobilefacenet import IMAGENET_MEAN, IMAGENET_STD

DEFAULT_CACHE = Path("~/.cache/dwarpal/inversion.npz").expanduser()
VALIDATED = 256
"""Held-out faces that are looked at with every line of the log."""


@dataclass(frozen=True)
class InversionConfig:
    """Everything that a run depends on besides the data."""

    steps: int = 1000
    batch: int = 64
    embedded: int = 32
    """How many of a batch also go through the embedder, which takes most of the time."""
    embedding_weight: float = 0.5
    learning_rate: float = 2e-3
    warmup: int = 50
    seed: int = 3
    every: int = 50


class Inversion:
    """Decoder, embedder and the two losses."""

    def __init__(self, config: InversionConfig, embedder: nn.Module) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.decoder = Decoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # In training mode for its quicker gradients: the network has nothing that would compute differently.
        self._embedder = embedder.requires_grad_(False).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)

    def losses(self, given: Tensor, plain: Tensor, pixels: Tensor, *, flip: bool) -> tuple[Tensor, Tensor]:
        """Return the mean distance of pixels, and one less the mean cosine between face and picture (or its mirror's).

        `given` n x 512 as the thief has them, `plain` n x 512, `pixels` n x 56 x 56 x 3 in 0 to 255.
        """
        with torch.autocast("cpu", torch.bfloat16):
            pictures = self.decoder(given)
        pictures = pictures.float()
        wanted = pixels.permute(0, 3, 1, 2).float() / 255
        some = self.config.embedded
        faces = (255 * enlarged(pictures[:some]) - self._mean) / self._std
        if flip:  # the site embeds both
            faces = faces.flip(3)
        with torch.autocast("cpu", torch.bfloat16):
            again = self._embedder(faces.contiguous(memory_format=torch.channels_last))
        cosines = nn.functional.cosine_similarity(again.float(), plain[:some])
        return nn.functional.l1_loss(pictures, wanted), 1 - cosines.mean()


def train(
    data: InversionData,
    config: InversionConfig,
    run: Path,
    *,
    resume: bool = False,
    rotated: bool = False,
    stop: int | None = None,
) -> None:
    """Train to the end, or to the step `stop`, with a checkpoint at every line of the log, and export."""
    run.mkdir(parents=True, exist_ok=True)
    inversion = Inversion(config, load_embedder())
    optimizer = torch.optim.AdamW(inversion.decoder.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    parts = {"decoder": inversion.decoder, "optimizer": optimizer, "schedule": schedule}
    first = _restore(run, parts) if resume else 0
    given = torch.from_numpy(data.embeddings @ _rotation(run, resume=resume) if rotated else data.embeddings)
    plain, pixels = torch.from_numpy(data.embeddings), torch.from_numpy(data.pixels)
    last = config.steps if stop is None else stop
    learn, check = (np.flatnonzero(data.held_out == held) for held in (False, True))
    check = check[:: max(1, len(check) // VALIDATED)]
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("inversion", total=config.steps, completed=first)
        seen: list[tuple[float, float]] = []
        began = time.monotonic()
        for step in range(first, last):
            rng = np.random.default_rng((config.seed, step))
            drawn = rng.choice(learn, config.batch, replace=False)
            flip = bool(rng.random() < 0.5)
            pixel, embedding = inversion.losses(given[drawn], plain[drawn], pixels[drawn], flip=flip)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(pixel + config.embedding_weight * embedding)
            optimizer.step()
            schedule.step()
            seen.append((float(pixel.detach()), float(embedding.detach())))
            bar.advance(task)
            if (step + 1) % config.every == 0 or step + 1 == last:
                held = _validated(inversion, given[check], plain[check], pixels[check])
                speed = len(seen) * config.batch / (time.monotonic() - began)
                figures = dict(zip(("pixel", "embedding"), np.mean(seen, axis=0).tolist(), strict=True))
                line = {"step": step + 1, **figures, **held, "faces_per_second": speed}
                _log(run / "log.csv", line)
                bar.console.print({name: round(value, 4) for name, value in line.items()})
                _save(run, parts, step + 1)
                seen.clear()
                began = time.monotonic()
    (run / "decoder.onnx").write_bytes(onnx_bytes(inversion.decoder))


@torch.no_grad()
def _validated(inversion: Inversion, given: Tensor, plain: Tensor, pixels: Tensor) -> dict[str, float]:
    """Return both losses for faces of people whom the decoder never saw."""
    inversion.decoder.eval()
    size = inversion.config.embedded
    parts = [slice(start, start + size) for start in range(0, len(given), size)]
    losses = [inversion.losses(given[part], plain[part], pixels[part], flip=False) for part in parts]
    found = np.mean([[float(loss) for loss in pair] for pair in losses], axis=0)
    inversion.decoder.train()
    return {"held_out_pixel": float(found[0]), "held_out_embedding": float(found[1])}


def _rotation(run: Path, *, resume: bool) -> FloatArray:
    """Return the rotation, 512 x 512, of the gallery that this thief trains with; a new one unless the run goes on."""
    path = run / "rotation.npy"
    if not (resume and path.exists()):
        square = np.random.default_rng().standard_normal((EMBEDDING_SIZE, EMBEDDING_SIZE))
        q, r = np.linalg.qr(square)
        np.save(path, (q * np.sign(np.diag(r))).astype(np.float32))  # evenly distributed: Mezzadri, 2007
    rotation: FloatArray = np.load(path)
    return rotation


def _rate(step: int, config: InversionConfig) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine down to nothing."""
    return min(1.0, (step + 1) / config.warmup) * (1 + math.cos(math.pi * min(1.0, step / config.steps))) / 2


Parts = dict[str, nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LambdaLR]


def _restore(run: Path, parts: Parts) -> int:
    """Load a checkpoint and return its step."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _save(run: Path, parts: Parts, step: int) -> None:
    """Write the checkpoint, never half of one."""
    partial = run / "checkpoint.partial"
    torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, partial)
    partial.replace(run / "checkpoint.pt")


def _log(path: Path, figures: dict[str, float]) -> None:
    """Add a line to the CSV log."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(figures))
        if new:
            writer.writeheader()
        writer.writerow(figures)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of faces-train.zip and lfw-dev.zip")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where embeddings and small faces are kept")
    parser.add_argument("--run", type=Path, default=Path("runs/inversion"))
    parser.add_argument("--resume", action="store_true", help="go on from RUN/checkpoint.pt")
    parser.add_argument("--rotated", action="store_true", help="train on a gallery's rotated templates")
    parser.add_argument("--steps", type=int, default=InversionConfig.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    data = load_inversion_data(options.data, options.cache)
    train(data, InversionConfig(steps=options.steps), options.run, resume=options.resume, rotated=options.rotated)


if __name__ == "__main__":
    main()
