"""Trains the embedder; reads top to bottom. See `training/README.md` for the commands, their time and seeds.

    python -m training.train_embedder PRESET --data FOLDER [--run FOLDER] [--resume] [--steps N] [--threads N]

Presets: `shipped` continues from the teacher; `laptop` and `gpu` train an IResNet from nothing or, with `--start`, from
a smaller one. Writes `RUN/checkpoint.pt` (network, averaged network, heads, optimizer, step, configuration) and
`RUN/log.csv`.
"""

from __future__ import annotations

import argparse
import csv
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from biometrics.iresnet import IResNet, IResNetConfig
from training.arcface import ArcFaceHead, embedding_loss, relational_loss
from training.face_augment import Strengths, changed, mixed
from training.face_data import DEFAULT_CACHE, NEAR, FaceData, load_faces, normalized
from training.mobilefacenet import IMAGENET_MEAN, IMAGENET_STD, TEACHER_SIZE, MobileFaceNet, load_teacher, widened
from training.net2net import grown, small_network

EMBEDDING_SIZE = 512
FITTED_FACES = 2048
CHANGEABLE = ("preset", "depth", "width", "start", "steps", "learning_rate", "threads", "compile")
IRESNET_MEAN = IRESNET_STD = (127.5, 127.5, 127.5)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a run depends on besides the data.

    `depth` 0 continues from the teacher, otherwise an IResNet of that depth and `width` begins from nothing or from the
    smaller one in the file `start`. `pull` is how far targets go from the teacher's own toward the person's mean.
    `push` gives, for each group, by how much cosines between its people should fall below the teacher's.
    """

    preset: str = ""
    depth: int = 0
    width: int = 64
    start: str = ""
    steps: int = 3000
    batch: int = 128
    learning_rate: float = 3e-4
    head_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01
    averaging: float = 0.998
    unlabelled: float = 0.4
    mixes: float = 0.0
    embedding_weight: float = 2.0
    relational_weight: float = 10.0
    arcface_weight: float = 0.05
    scale: float = 32.0
    margin: float = 0.3
    margin_warmup: int = 600
    subcenters: int = 1
    pull: float = 0.4
    push: dict[str, float] = field(default_factory=dict)
    strengths: Strengths = field(default_factory=Strengths)
    bfloat16: bool = True
    compile: bool = False
    seed: int = 11
    report_every: int = 100
    workers: int = 1
    threads: int = 2
    device: str = "cpu"

    @classmethod
    def from_checkpoint(cls, values: dict[str, object]) -> TrainingConfig:
        """Read the configuration that a checkpoint carries; raises `ValueError` if it is another program's."""
        return TypeAdapter(cls).validate_python(values)


PRESETS = {
    "shipped": TrainingConfig(
        steps=4000, strengths=Strengths(clean=0.4),
        push={"indian": 0.10, "black": 0.04, "east_asian": 0.05, "other": 0.04},
    ),
    "laptop": TrainingConfig(
        depth=18, width=32, steps=6000, learning_rate=2e-3, head_rate=2e-3, mixes=0.5, weight_decay=0.03,
        embedding_weight=4.0, relational_weight=40.0, arcface_weight=0.02, margin=0.35, compile=True, pull=0.2,
    ),
    "gpu": TrainingConfig(
        depth=50, width=64, steps=20000, batch=512, learning_rate=2e-3, head_rate=2e-3, mixes=0.5, weight_decay=0.03,
        embedding_weight=4.0, relational_weight=40.0, arcface_weight=0.02, margin=0.4, compile=True, pull=0.2,
        workers=12, device="cuda",
    ),
}  # fmt: skip


class FaceExamples(Dataset[dict[str, Tensor]]):
    """Changed faces with what the teacher says of them; example i of a run is always the same."""

    def __init__(self, faces: FaceData, config: TrainingConfig, *, first: int) -> None:
        self._faces = faces
        self._config = config
        self._first = first
        self._named, self._unnamed = np.flatnonzero(faces.labelled), np.flatnonzero(~faces.labelled)
        means = faces.centers()[faces.subject]
        targets = (1 - config.pull) * faces.teacher + config.pull * means
        self._targets = targets / np.linalg.norm(targets, axis=1, keepdims=True)

    def __len__(self) -> int:
        """Count the examples of the rest of the run."""
        return self._config.steps * self._config.batch - self._first

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return `view` and `source` (112 x 112 x 3 uint8), `target` (128), `person`; person -1 for a mixed face."""
        config, faces = self._config, self._faces
        rng = np.random.default_rng([config.seed, self._first + index])
        pool = self._unnamed if len(self._unnamed) and rng.random() < config.unlabelled else self._named
        chosen = int(pool[rng.integers(len(pool))])
        source, person = np.array(faces.pixels[chosen]), int(faces.subject[chosen])
        if rng.random() < config.mixes:
            other = int(rng.integers(len(faces.pixels)))
            source, person = mixed(source, np.array(faces.pixels[other]), rng), -1
        return {
            "view": torch.from_numpy(changed(source, rng, config.strengths)),
            "source": torch.from_numpy(source),
            "target": torch.from_numpy(self._targets[chosen]),
            "person": torch.tensor(person),
        }


class Learner(nn.Module):
    """The network with the heads that only training needs."""

    def __init__(self, faces: FaceData, teacher: MobileFaceNet, config: TrainingConfig) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        self.network: nn.Module
        if config.depth:
            self.network = IResNet(IResNetConfig(config.depth, config.width, EMBEDDING_SIZE))
            basis = torch.linalg.qr(torch.randn(EMBEDDING_SIZE, TEACHER_SIZE, generator=generator)).Q
            if config.start:
                self.network.load_state_dict(grown(small_network(Path(config.start)), self.network.config, generator))
                basis = _fitted(self.network, faces)
        else:
            self.network, basis = widened(teacher, EMBEDDING_SIZE, generator)
        self.project = nn.Linear(EMBEDDING_SIZE, TEACHER_SIZE, bias=False)
        with torch.no_grad():
            self.project.weight.copy_(basis.T)
        self.head = ArcFaceHead(faces.n_subjects, EMBEDDING_SIZE, scale=config.scale, subcenters=config.subcenters)
        self.head.start_from(torch.from_numpy(faces.centers()) @ torch.linalg.pinv(basis))


@torch.no_grad()
def _fitted(network: nn.Module, faces: FaceData) -> Tensor:
    """Return the map, 512 x 128, that takes the network's unit vectors nearest to the teacher's (least squares)."""
    some = np.linspace(0, len(faces.pixels) - 1, min(len(faces.pixels), FITTED_FACES)).astype(int)
    network.eval()
    batches = [torch.from_numpy(np.array(faces.pixels[part])) for part in np.array_split(some, max(1, len(some) // 64))]
    vectors = torch.cat([network(normalized(batch, IRESNET_MEAN, IRESNET_STD)) for batch in batches])
    wanted = torch.from_numpy(faces.teacher[some])
    nearest: Tensor = torch.linalg.lstsq(nn.functional.normalize(vectors), wanted).solution
    return nearest


class Losses:
    """Weighs the losses of one batch; knows the people's centers, groups and who may be the same person."""

    def __init__(self, faces: FaceData, config: TrainingConfig) -> None:
        self._config = config
        self._centers = torch.from_numpy(faces.centers()).to(config.device)
        group_of = np.full(faces.n_subjects, -1)
        group_of[faces.subject] = faces.group
        self._group = torch.from_numpy(group_of).to(config.device)
        pushes = [config.push.get(name, 0.0) for name in faces.groups]
        self._push = torch.tensor([*pushes, 0.0], device=config.device)  # -1, no group, is the last

    def __call__(
        self, learner: Learner, embeddings: Tensor, targets: Tensor, people: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Return the named losses of n unit embeddings (n x 512); `targets` n x 128; `people` -1 where mixed."""
        config = self._config
        known = people >= 0
        losses = {
            "embedding": config.embedding_weight * embedding_loss(learner.project(embeddings), targets).mean(),
            "relational": config.relational_weight
            * relational_loss(embeddings, targets, self._between(people, people)),
        }
        if config.arcface_weight and bool(known.any()):
            mine = people[known]
            margin = config.margin * min(1.0, step / max(1, config.margin_warmup))
            near = self._centers[mine] @ self._centers.T > NEAR
            everyone = torch.arange(len(self._centers), device=mine.device)
            arc = learner.head(embeddings[known], mine, margin, self._between(mine, everyone), near)
            losses["arcface"] = config.arcface_weight * arc.mean()
        return losses

    def _between(self, some: Tensor, others: Tensor) -> Tensor:
        """Return by how much cosines between people of one group should fall, n x m."""
        first = torch.where(some >= 0, self._group[some], -1)
        second = torch.where(others >= 0, self._group[others], -1)
        return torch.where(first[:, None] == second[None], self._push[first][:, None], 0.0)


def input_scale(config: TrainingConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the network's input on RGB 0-255."""
    return (IRESNET_MEAN, IRESNET_STD) if config.depth else (IMAGENET_MEAN, IMAGENET_STD)


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Return the part of the full rate: a linear warm-up, then half a cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return float(0.5 * (1 + np.cos(np.pi * progress)))


def train(
    faces: FaceData,
    teacher: MobileFaceNet,
    config: TrainingConfig,
    run: Path,
    *,
    resume: bool,
    until: int | None = None,
) -> None:
    """Train up to step `until` (the end by default); the result is the averaged network in `RUN/checkpoint.pt`."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # without it, vanishing gradients make a step take ten times as long
    learner = Learner(faces, teacher, config).to(config.device)
    learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(learner.network).eval()
    optimizer = torch.optim.AdamW(
        [
            {"params": learner.network.parameters(), "rate": config.learning_rate},
            {"params": [*learner.project.parameters(), *learner.head.parameters()], "rate": config.head_rate},
        ],
        weight_decay=config.weight_decay,
    )
    run.mkdir(parents=True, exist_ok=True)
    start = _restore(run / "checkpoint.pt", learner, average, optimizer) if resume else 0
    forward = torch.compile(learner.network) if config.compile else learner.network
    losses = Losses(faces, config)
    mean, std = input_scale(config)
    teacher = teacher.to(config.device)
    loader = DataLoader(
        FaceExamples(faces, config, first=start * config.batch),
        config.batch,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    stop = config.steps if until is None else until
    seen: list[dict[str, float]] = []
    began = time.monotonic()
    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=start)
        for step, batch in enumerate(loader, start):
            batch = {name: value.to(config.device) for name, value in batch.items()}
            people = batch["person"]
            targets = _targets(teacher, batch)
            factor = learning_rate_at(step, config)
            for group in optimizer.param_groups:
                group["lr"] = factor * group["rate"]
            learner.train()
            with torch.autocast(config.device, torch.bfloat16, enabled=config.bfloat16):
                vectors = forward(normalized(batch["view"], mean, std))
            embeddings = nn.functional.normalize(vectors.float())
            parts = losses(learner, embeddings, targets, people, step)
            total = torch.stack(list(parts.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total)
            nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
            optimizer.step()
            _follow(average, learner.network, min(config.averaging, (1 + step) / (10 + step)))
            seen.append({"loss": float(total.detach()), **{name: float(part.detach()) for name, part in parts.items()}})
            progress.advance(task)
            done = step + 1
            if done % config.report_every == 0 or done == stop:
                speed = len(seen) * config.batch / (time.monotonic() - began)
                figures = {name: float(np.mean([line[name] for line in seen if name in line])) for name in seen[0]}
                _log(run / "log.csv", {"step": done, **figures, "faces_per_second": speed})
                progress.console.print({name: round(value, 4) for name, value in figures.items()}, f"{speed:.0f}/s")
                seen.clear()
                _save(run / "checkpoint.pt", learner, average, optimizer, done, config)
                began = time.monotonic()
            if done == stop:
                break


@torch.no_grad()
def _targets(teacher: MobileFaceNet, batch: dict[str, Tensor]) -> Tensor:
    """Return the teacher's unit vectors: known ones, and for mixed faces what it says now."""
    targets: Tensor = batch["target"].clone()
    strange = batch["person"] < 0
    if bool(strange.any()):
        sources = normalized(batch["source"][strange], IMAGENET_MEAN, IMAGENET_STD)
        targets[strange] = nn.functional.normalize(teacher(sources)).float()
    return targets


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged network a little toward the one in training."""
    theirs = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


def _restore(path: Path, learner: Learner, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint and return its step."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    learner.load_state_dict(state["learner"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    step: int = state["step"]
    return step


def _save(
    path: Path,
    learner: Learner,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    config: TrainingConfig,
) -> None:
    """Write the checkpoint, never half of one."""
    state = {
        "learner": learner.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "config": asdict(config),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _log(path: Path, figures: dict[str, float]) -> None:
    """Add a line to the CSV log."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(figures))
        if new:
            writer.writeheader()
        writer.writerow(figures)


def _progress() -> Progress:
    """Return a bar with the time that remains."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training archives")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--run", type=Path, help="default: runs/PRESET")
    parser.add_argument("--resume", action="store_true", help="go on from RUN/checkpoint.pt")
    parser.add_argument("--depth", type=int, help="18, 34, 50 or 100 instead of the preset's")
    parser.add_argument("--width", type=int)
    parser.add_argument("--start", help="checkpoint or ONNX file of a smaller IResNet to grow from")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-compile", action="store_const", const=False, dest="compile", help="no C++ compiler here")
    options = parser.parse_args()
    changes = {name: getattr(options, name) for name in CHANGEABLE}
    config = replace(PRESETS[options.preset], **{name: value for name, value in changes.items() if value is not None})
    faces = load_faces(options.data, options.cache)
    teacher = load_teacher(options.data / "teacher" / "mobilefacenet.onnx")
    train(faces, teacher, config, options.run or Path("runs") / options.preset, resume=options.resume)


if __name__ == "__main__":
    main()
