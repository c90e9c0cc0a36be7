"""Turns the training pictures, once, into what the head of the PAD network learns from.

    python -m training.pad_data DATA [--cache FILE.npz] [--faces 3000] [--workers 2]

`DATA` is the folder with `pad-train.zip`, `faces-train.zip` and `faces-unlabelled.zip`. The cache holds the frozen
stages' features of every view, no picture; it stays outside the repository.
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from biometrics.mtcnn import MtcnnDetector
from biometrics.types import FloatArray, Pixels
from liveness.pad import context_crop
from training.pad_augment import augmented
from training.pad_faces import build_detector, find_face
from training.pad_features import features_of
from training.pad_network import CROP, FEATURES, PadFeatures, pretrained
from training.pad_simulation import (
    SIMULATED,
    Portrait,
    Species,
    aligned_portrait,
    capture,
    cut_portrait,
)
from training.pad_split import Part, part_of_face, part_of_frame

CONTEXT = 2.7
DEFAULT_CACHE = Path.home() / ".cache" / "dwarpal" / "pad-features.npz"
FACE_SOURCES = {"wild": 0.55, "glint": 0.05, "al89": 0.10, "unlabelled": 0.30}
"""Shares of the aligned faces; the soft 64 x 64 source is left out, sharpness must not tell the class."""
SIMULATED_FRAMES = 0.3
"""Share of the living frames from which captures are simulated."""
AUGMENTED_VIEWS = 1
SEED = 20


@dataclass(frozen=True, slots=True)
class Item:
    """One picture: its place, its label, a stranger's aligned face, and how much smaller a picture of the other class
    of its collection is."""

    archive: str
    member: str
    part: Part
    domain: str
    subject: str
    species: Species
    stranger: str = ""
    shrink: float = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What a row of the cache is a view of: number 0 is what the gate would see, the others are augmented."""

    item: Item
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PadViews:
    """All views: n x FEATURES, and for each its part, domain, subject, species and number."""

    features: FloatArray
    part: NDArray[np.str_]
    domain: NDArray[np.str_]
    subject: NDArray[np.str_]
    species: NDArray[np.str_]
    number: NDArray[np.int64]

    LABELS = ("part", "domain", "subject", "species", "number")

    @classmethod
    def load(cls, path: Path) -> PadViews:
        """Read the cache."""
        with np.load(path) as stored:
            return cls(stored["features"], *(stored[name] for name in cls.LABELS))

    def save(self, path: Path) -> None:
        """Write the cache."""
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = {name: getattr(self, name) for name in self.LABELS}
        np.savez(path, features=self.features, **labels)

    def where(self, mask: NDArray[np.bool_]) -> PadViews:
        """Return some of the views."""
        return PadViews(self.features[mask], *(getattr(self, name)[mask] for name in self.LABELS))

    @property
    def bona_fide(self) -> NDArray[np.bool_]:
        """Say for each view whether it shows a living face."""
        return np.asarray(self.species == "bona_fide")

    @property
    def collection(self) -> NDArray[np.str_]:
        """Name the source: `simulated` captures apart, the two collections of one person together."""
        same = np.where(np.isin(self.domain, ("webcam-02", "webcam-11")), "webcam-02/11", self.domain)
        return np.asarray(same)


def frame_items(data: Path) -> Iterator[Item]:
    """Yield the frames of `pad-train`."""
    rows = list(_rows(data / "pad-train.zip", "labels.csv"))
    rng = np.random.default_rng(SEED)
    with zipfile.ZipFile(data / "pad-train.zip") as archive:  # its own: workers must not share an open file
        heights = {row["image"]: _height(archive, row["image"]) for row in rows}
    pools: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        pools[row["domain"], row["label"]].append(heights[row["image"]])
    for row in rows:
        species: Species = "bona_fide"
        if row["label"] == "attack":
            species = "print" if row["species"] == "print" else "replay_like"
        others = pools[row["domain"], "attack" if species == "bona_fide" else "bona_fide"] or [heights[row["image"]]]
        subject, part = row["subject"] or row["domain"], part_of_frame(row["domain"], row["subject"])
        shrink = float(rng.choice(others)) / heights[row["image"]]
        yield Item("pad-train.zip", row["image"], part, row["domain"], subject, species, shrink=shrink)


def face_items(data: Path, count: int) -> Iterator[Item]:
    """Yield `count` aligned faces, as many people as possible."""
    rng = np.random.default_rng(SEED)
    pools: dict[str, list[Item]] = {source: [] for source in FACE_SOURCES}
    for row in _rows(data / "faces-train.zip", "index.csv"):
        if row["source"] in pools:
            subject, part = row["subject"], part_of_face(row["subject"])
            pools[row["source"]].append(Item("faces-train.zip", row["path"], part, "faces", subject, "bona_fide"))
    for row in _rows(data / "faces-unlabelled.zip", "index.csv"):
        path = row["path"]
        pools["unlabelled"].append(Item("faces-unlabelled.zip", path, part_of_face(path), "faces", path, "bona_fide"))
    for source, share in FACE_SOURCES.items():
        order = rng.permutation(len(pools[source]))[: round(share * count)]
        yield from (pools[source][i] for i in order)


def with_strangers(items: Sequence[Item]) -> list[Item]:
    """Give every item an aligned face of another person of the same part, who wears its masks or stands behind."""
    rng = np.random.default_rng(SEED)
    wild = [item for item in items if item.archive == "faces-train.zip"]
    pools = {part: [item for item in wild if item.part == part] for part in ("train", "dev", "test")}
    return [replace(item, stranger=_other(item, pools[item.part], rng)) for item in items]


def portraits_of(data: Path, item: Item) -> list[tuple[Portrait, View]]:
    """Return all views of one picture and of captures simulated from it, none if no face is found."""
    image = _read(data / item.archive, item.member)
    rng = np.random.default_rng([SEED, *item.member.encode()])
    if item.domain == "faces":
        attack = SIMULATED[int(rng.integers(len(SIMULATED)))]
        return [
            (capture(aligned_portrait(image, rng), _stranger(data, item, rng), species, rng), _as(item, species))
            for species in ("bona_fide", attack)
        ]
    portrait = located(item, image)
    if portrait is None:
        return []
    made = [(portrait, View(item))]
    numbers = range(1, 1 + AUGMENTED_VIEWS)
    made += [(augmented(portrait, item.shrink, rng), View(item, number)) for number in numbers]
    if item.species == "bona_fide" and rng.random() < SIMULATED_FRAMES:
        for species in ("bona_fide", *SIMULATED):
            taken = capture(cut_portrait(portrait, rng), _stranger(data, item, rng), species, rng)
            made.append((taken, _as(item, species, domain=f"{item.domain}-simulated")))
    return made


def located(item: Item, image: Pixels) -> Portrait | None:
    """Find the face of a frame, turned upright."""
    found = find_face(_detector(), image)
    return None if found is None else Portrait(*found)


def features_of_items(data: Path, items: Sequence[Item]) -> tuple[FloatArray, list[View]]:
    """Return the features of all views of some pictures."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    made = list(chain.from_iterable(portraits_of(data, item) for item in items))
    if not made:
        return np.empty((0, FEATURES), np.float32), []
    crops = np.stack([context_crop(shown.pixels, shown.face, context=CONTEXT, size=CROP) for shown, _ in made])
    return features_of(_frozen(), crops), [view for _, view in made]


def build(data: Path, target: Path, *, faces: int = 3000, workers: int = 2) -> PadViews:
    """Make all features and store them."""
    items = with_strangers(list(chain(frame_items(data), face_items(data, faces))))
    chunks = [items[start : start + 8] for start in range(0, len(items), 8)]
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(partial(features_of_items, data), chunks)
        made = list(track(results, total=len(chunks), description="features"))
    rows = [view for _, views in made for view in views]
    seen = {view.item.member for view in rows}
    missed = Counter((item.domain, item.species) for item in items if item.member not in seen)
    print("no face found:", dict(sorted(missed.items())))
    labels = {name: np.array([getattr(view.item, name) for view in rows]) for name in PadViews.LABELS[:-1]}
    views = PadViews(
        np.concatenate([features for features, _ in made]),
        **labels,
        number=np.array([view.number for view in rows]),
    )
    views.save(target)
    return views


def main() -> None:
    """Build the cache and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--faces", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    views = build(options.data, options.cache, faces=options.faces, workers=options.workers)
    for key, count in sorted(Counter(zip(views.part, views.domain, views.species, strict=True)).items()):
        print(*key, count)


def _as(item: Item, species: Species, *, domain: str | None = None) -> View:
    """Return what a simulated capture made from an item is."""
    return View(replace(item, species=species, domain=domain or item.domain))


def _other(item: Item, pool: Sequence[Item], rng: np.random.Generator) -> str:
    """Draw somebody else from a pool."""
    while True:
        drawn = pool[int(rng.integers(len(pool)))]
        if drawn.subject != item.subject:
            return drawn.member


def _stranger(data: Path, item: Item, rng: np.random.Generator) -> Portrait:
    """Return the stranger's portrait."""
    return aligned_portrait(_read(data / "faces-train.zip", item.stranger), rng)


@cache
def _detector() -> MtcnnDetector:
    """Build the detector once in each process."""
    return build_detector()


@cache
def _frozen() -> PadFeatures:
    """Build the frozen stages once in each process."""
    frozen = pretrained()
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return frozen


@cache
def _archive(path: Path) -> zipfile.ZipFile:
    """Open an archive once in each process."""
    return zipfile.ZipFile(path)


def _rows(path: Path, member: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file in an archive."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8"))


def _height(archive: zipfile.ZipFile, member: str) -> int:
    """Read a picture's longer side from its header: height, or width of a picture that lies on its side."""
    with Image.open(io.BytesIO(archive.read(member))) as picture:
        return max(picture.size)


def _read(path: Path, member: str) -> Pixels:
    """Read one picture of an archive, RGB."""
    with Image.open(io.BytesIO(_archive(path).read(member))) as picture:
        return np.array(picture.convert("RGB"))


if __name__ == "__main__":
    main()
