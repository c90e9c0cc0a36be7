"""Trains the head of the PAD network; reads top to bottom. See `training/README.md` for the commands and their time.

    python -m training.train_pad --data FOLDER [--cache FILE.npz] [--weights FOLDER]

Makes the features if the cache does not exist, trains on them in seconds, and exports the network and its card. There
is no checkpoint: what takes long is the cache, and that stays.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.export_pad import WEIGHTS, export
from training.pad_data import DEFAULT_CACHE, PadViews, build
from training.pad_network import PadHead

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a head depends on besides the data."""

    members: int = 8
    hidden: int = 32
    steps: int = 800
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    smoothing: float = 0.1
    seed: int = 7
    threads: int = 2


GROUP_SHARES = {
    # bona fide, origin: share of its class in the loss; collections of one origin share theirs equally
    (True, "nuaa"): 0.25,
    (True, "webcam"): 0.35,
    (True, "live-simulated"): 0.15,
    (True, "faces"): 0.25,
    (False, "nuaa"): 0.25,
    (False, "webcam"): 0.35,
    (False, "live-simulated"): 0.15,
    (False, "faces"): 0.25,
}


def fit(learn: PadViews, config: TrainingConfig) -> PadHead:
    """Return the head, its members trained on views drawn so that every origin has its share."""
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(config.seed)
    features, labels = torch.from_numpy(learn.features), torch.from_numpy(learn.bona_fide.astype(np.float32))
    shares = torch.from_numpy(view_shares(learn))
    head = PadHead(config.members, config.hidden, features.shape[1])
    head.middle.copy_(features.mean(dim=0))
    head.spread.copy_(features.std(dim=0) + 1e-4)
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.steps, pct_start=0.07, cycle_momentum=False
    )
    for _ in range(config.steps):
        drawn = torch.multinomial(shares, config.batch, replacement=True)
        smooth = labels[drawn] * (1 - config.smoothing) + config.smoothing / 2
        logits = head.each(features[drawn])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, smooth[:, None].expand_as(logits))
        optimizer.zero_grad(set_to_none=True)
        # each member learns by itself: the sum of their losses, not the loss of their mean
        torch.autograd.backward(loss * config.members)
        optimizer.step()
        schedule.step()
    return head.eval()


def view_shares(views: PadViews) -> Floats:
    """Return each view's weight: every origin its share of its class, every collection of an origin the same."""
    keys = [
        (bool(bona_fide), origin_of(domain), collection)
        for bona_fide, domain, collection in zip(
            views.bona_fide, views.domain.tolist(), views.collection.tolist(), strict=True
        )
    ]
    sizes = Counter(keys)
    collections = Counter((bona_fide, origin) for bona_fide, origin, _ in sizes)
    return np.array([GROUP_SHARES[key[:2]] / collections[key[:2]] / sizes[key] for key in keys])


def origin_of(domain: str) -> str:
    """Return the kind of source that a domain is."""
    if domain.endswith("-simulated"):
        return "live-simulated"
    return domain.split("-")[0]


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the training archives, where there is no cache yet")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder for the exported network and card")
    parser.add_argument("--protocols", type=Path, default=None, help="figures of training.pad_protocols, for the card")
    options = parser.parse_args()
    if options.cache.exists():
        views = PadViews.load(options.cache)
    elif options.data is None:
        parser.error("there is no cache yet: name the folder of the training archives with --data")
    else:
        views = build(options.data, options.cache)
    config = TrainingConfig()
    head = fit(views.where(views.part == "train"), config)
    card = export(head, views, options.weights, settings=asdict(config), protocols=options.protocols)
    print(f"{options.weights / card.file}: {card.parameters:,} parameters, SHA-256 {card.sha256}")


if __name__ == "__main__":
    main()
