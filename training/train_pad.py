"""Trains the PAD network; reads top to bottom. See `training/README.md` for the commands, their time and seeds.

    python -m training.train_pad --data FOLDER [--cache FILE.npz] [--run FOLDER] [--steps 5600] [--resume]

Makes the crops if the cache does not exist, trains, and exports the network and its card. Writes
`RUN/checkpoint.pt` (weights, averaged weights, optimizer, step, configuration) and `RUN/log.csv`.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.export_pad import WEIGHTS, export
from training.pad_augment import augmented
from training.pad_data import DEFAULT_CACHE, PadCrops, build
from training.pad_network import PadArchitecture, PadMobileNet
from training.pad_scores import as_input, scores_of

DEFAULT_RUN = Path("runs/pad")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a run depends on besides the data."""

    architecture: PadArchitecture = field(default_factory=PadArchitecture)
    steps: int = 5600
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.03
    smoothing: float = 0.05
    averaging: float = 0.997
    seed: int = 7
    report_every: int = 400
    workers: int = 1
    threads: int = 2


GROUP_SHARES = {
    # bona fide, origin: share of its class in each batch; webcam collections share theirs equally
    (True, "nuaa"): 0.25,
    (True, "webcam"): 0.25,
    (True, "live-simulated"): 0.20,
    (True, "faces"): 0.30,
    (False, "nuaa"): 0.30,
    (False, "webcam"): 0.25,
    (False, "live-simulated"): 0.20,
    (False, "faces"): 0.25,
}


class PadExamples(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops drawn so that every origin has its share; example i of a run is always the same."""

    def __init__(self, crops: PadCrops, config: TrainingConfig, *, first: int) -> None:
        self._crops = crops
        self._shares = example_shares(crops)
        self._cumulative = np.cumsum(self._shares)
        self._config = config
        self._first = first

    def __len__(self) -> int:
        """Count the examples of the rest of the run."""
        return self._config.steps * self._config.batch - self._first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return pixels, SIZE x SIZE x 3, and the label."""
        rng = np.random.default_rng([self._config.seed, self._first + index])
        chosen, other = np.searchsorted(self._cumulative, rng.random(2) * self._cumulative[-1]).tolist()
        crop = augmented(self._crops.crops[chosen], self._crops.crops[other], rng)
        return torch.from_numpy(crop), torch.tensor(float(self._crops.bona_fide[chosen]))


def example_shares(crops: PadCrops) -> NDArray[np.float64]:
    """Return each crop's probability of being drawn."""
    origins = [origin_of(domain) for domain in crops.domain]
    keys = list(zip(crops.bona_fide.tolist(), origins, crops.domain.tolist(), strict=True))
    sizes = Counter(keys)
    domains = Counter((bona_fide, origin) for bona_fide, origin, _ in sizes)
    return np.array([GROUP_SHARES[key[:2]] / domains[key[:2]] / sizes[key] for key in keys])


def origin_of(domain: str) -> str:
    """Return the kind of source that a domain is."""
    if domain.endswith("-simulated"):
        return "live-simulated"
    return domain.split("-")[0]


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Return the rate: a linear warm-up, then half a cosine to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return float(config.learning_rate * 0.5 * (1 + np.cos(np.pi * progress)))


def train(crops: PadCrops, config: TrainingConfig, run: Path, *, resume: bool) -> None:
    """Train; the result is the averaged network in `RUN/checkpoint.pt`."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # without it, vanishing gradients make a step take ten times as long
    network = PadMobileNet(config.architecture)
    average = deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    start = 0
    run.mkdir(parents=True, exist_ok=True)
    if resume:
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    learn, dev = crops.where(crops.part == "train"), crops.where(crops.part == "dev")
    examples = PadExamples(learn, config, first=start * config.batch)
    loader = DataLoader(examples, config.batch, num_workers=config.workers, prefetch_factor=4)
    losses: list[float] = []
    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=start)
        for step, (pixels, labels) in enumerate(loader, start):
            losses.append(_step(network, optimizer, as_input(pixels), labels, learning_rate_at(step, config), config))
            _follow(average, network, min(config.averaging, (1 + step) / (10 + step)))
            progress.advance(task)
            if (step + 1) % config.report_every == 0 or step + 1 == config.steps:
                figures = {"step": step + 1, "loss": float(np.mean(losses)), **_on_dev(average, dev)}
                losses.clear()
                _log(run / "log.csv", figures)
                progress.console.print({k: round(v, 4) for k, v in figures.items()})
                _save(run / "checkpoint.pt", network, average, optimizer, step + 1, config)


def _step(
    network: PadMobileNet,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    rate: float,
    config: TrainingConfig,
) -> float:
    """Make one step and return its loss."""
    network.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    smooth = labels * (1 - config.smoothing) + config.smoothing / 2
    # In float32: the gradient of a depthwise convolution is slower in bfloat16 on a CPU (measured 1.4 s, not 0.9 s).
    logits = network(inputs).flatten()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, smooth)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged network a little toward the one in training."""
    ours, theirs = average.state_dict(), network.state_dict()
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


def _on_dev(network: PadMobileNet, dev: PadCrops) -> dict[str, float]:
    """Return, for each kind of dev data, the mean score: high for bona fide, low for attacks."""
    scores = scores_of(network, dev)
    kinds = np.array([f"{origin_of(d)}/{s}" for d, s in zip(dev.domain.tolist(), dev.species.tolist(), strict=True)])
    right = np.where(dev.bona_fide, scores >= 0.5, scores < 0.5)
    return {kind: float(right[kinds == kind].mean()) for kind in np.unique(kinds).tolist()}


def _log(path: Path, figures: dict[str, float]) -> None:
    """Add a line to the CSV log."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(figures))
        if new:
            writer.writeheader()
        writer.writerow(figures)


def _save(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    config: TrainingConfig,
) -> None:
    """Write the checkpoint, never half of one."""
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "config": asdict(config),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _progress() -> Progress:
    """Return a bar with the time that remains."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the training archives, where there is no cache yet")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--run", type=Path, default=DEFAULT_RUN)
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--resume", action="store_true", help="go on from RUN/checkpoint.pt")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder for the exported network and card")
    options = parser.parse_args()
    config = TrainingConfig(steps=options.steps)
    if options.cache.exists():
        crops = PadCrops.load(options.cache)
    elif options.data is None:
        parser.error("there is no cache yet: name the folder of the training archives with --data")
    else:
        crops = build(options.data, options.cache)
    train(crops, config, options.run, resume=options.resume)
    export(options.run / "checkpoint.pt", crops, options.weights)


if __name__ == "__main__":
    main()
