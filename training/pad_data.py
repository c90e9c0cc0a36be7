"""Builds the crops that the PAD network learns from, once, into a cache outside the repository.

    python -m training.pad_data DATA [--cache FILE.npz] [--faces 6000] [--workers 2]

`DATA` is the folder with `pad-train.zip`, `faces-train.zip` and `faces-unlabelled.zip`.
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
from biometrics.types import Pixels
from training.pad_faces import build_detector, find_face
from training.pad_simulation import Species, aligned_portrait, cut_portrait, simulate, wide_crop
from training.pad_split import Part, part_of_face, part_of_frame

DEFAULT_CACHE = Path.home() / ".cache" / "dwarpal" / "pad-crops.npz"
FACE_SOURCES = {"wild": 0.55, "glint": 0.05, "al89": 0.10, "unlabelled": 0.30}
"""Shares of the aligned faces; the soft 64 x 64 source is left out, sharpness must not tell the class."""
SEED = 20


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to make crops from: its place, and for frames of `pad-train` its label."""

    archive: str
    member: str
    part: Part
    domain: str
    subject: str
    species: Species


@dataclass(frozen=True, slots=True, eq=False)
class PadCrops:
    """All crops: `crops` n x WIDE x WIDE x 3, and for each its part, domain, subject, species."""

    crops: Pixels
    part: NDArray[np.str_]
    domain: NDArray[np.str_]
    subject: NDArray[np.str_]
    species: NDArray[np.str_]

    @classmethod
    def load(cls, path: Path) -> PadCrops:
        """Read the cache."""
        with np.load(path) as stored:
            return cls(*(stored[name] for name in cls.__slots__))

    def where(self, mask: NDArray[np.bool_]) -> PadCrops:
        """Return some of the crops."""
        return PadCrops(*(getattr(self, name)[mask] for name in self.__slots__))

    @property
    def bona_fide(self) -> NDArray[np.bool_]:
        """Say for each crop whether it shows a living face."""
        return np.asarray(self.species == "bona_fide")


def frame_items(data: Path) -> Iterator[Item]:
    """Yield the frames of `pad-train`."""
    for row in _rows(data / "pad-train.zip", "labels.csv"):
        part = part_of_frame(row["domain"], row["subject"])
        species: Species = "bona_fide"
        if row["label"] == "attack":
            species = "print" if row["species"] == "print" else "replay_like"
        subject = row["subject"] or row["domain"]
        yield Item("pad-train.zip", row["image"], part, row["domain"], subject, species)


def face_items(data: Path, count: int) -> Iterator[Item]:
    """Yield `count` aligned faces, as many people as possible."""
    rng = np.random.default_rng(SEED)
    pools: dict[str, list[Item]] = {source: [] for source in FACE_SOURCES}
    for row in _rows(data / "faces-train.zip", "index.csv"):
        if row["source"] in pools:
            subject = row["subject"]
            pools[row["source"]].append(
                Item("faces-train.zip", row["path"], part_of_face(subject), "faces", subject, "bona_fide")
            )
    for row in _rows(data / "faces-unlabelled.zip", "index.csv"):
        path = row["path"]
        pools["unlabelled"].append(Item("faces-unlabelled.zip", path, part_of_face(path), "faces", path, "bona_fide"))
    for source, share in FACE_SOURCES.items():
        order = rng.permutation(len(pools[source]))[: round(share * count)]
        yield from (pools[source][i] for i in order)


def crops_of(data: Path, item: Item) -> list[tuple[Pixels, Item]]:
    """Return all crops made from one picture, none if no face is found."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    image = _read(data / item.archive, item.member)
    rng = np.random.default_rng([SEED, *item.member.encode()])
    if item.domain == "faces":
        portraits = [aligned_portrait(image, rng) for _ in range(2)]
        attack: Species = "simulated_print" if rng.random() < 0.5 else "simulated_replay"
        wanted: list[Species] = ["bona_fide", attack]
        return [
            (simulate(portrait, species, rng), _as(item, species))
            for portrait, species in zip(portraits, wanted, strict=True)
        ]
    found = find_face(_detector(), image)
    if found is None:
        return []
    frame, face = found
    crops = [(wide_crop(frame, face), item)]
    if item.species == "bona_fide" and rng.random() < 0.6:
        for species in ("bona_fide", "simulated_print", "simulated_replay"):
            crop = simulate(cut_portrait(frame, face, rng), species, rng)
            crops.append((crop, _as(item, species, domain=f"{item.domain}-simulated")))
    return crops


def build(data: Path, target: Path, *, faces: int = 6000, workers: int = 2) -> PadCrops:
    """Make all crops and store them."""
    items = list(chain(frame_items(data), face_items(data, faces)))
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(partial(crops_of, data), items, chunksize=16)
        made = list(track(results, total=len(items), description="crops"))
    missed = Counter((i.domain, i.species) for i, c in zip(items, made, strict=True) if not c)
    print("no face found:", dict(sorted(missed.items())))
    flat = list(chain.from_iterable(made))
    crops = PadCrops(
        np.stack([crop for crop, _ in flat]),
        *(np.array([getattr(item, name) for _, item in flat]) for name in PadCrops.__slots__[1:]),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **{name: getattr(crops, name) for name in PadCrops.__slots__})
    return crops


def main() -> None:
    """Build the cache and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    crops = build(options.data, options.cache, faces=options.faces, workers=options.workers)
    for key, count in sorted(Counter(zip(crops.part, crops.domain, crops.species, strict=True)).items()):
        print(*key, count)


def _as(item: Item, species: Species, *, domain: str | None = None) -> Item:
    """Return what a simulated capture made from an item is."""
    return Item(item.archive, item.member, item.part, domain or item.domain, item.subject, species)


@cache
def _detector() -> MtcnnDetector:
    """Build the detector once in each process."""
    return build_detector()


@cache
def _archive(path: Path) -> zipfile.ZipFile:
    """Open an archive once in each process."""
    return zipfile.ZipFile(path)


def _rows(path: Path, member: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file in an archive."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8"))


def _read(path: Path, member: str) -> Pixels:
    """Read one picture of an archive, RGB."""
    with Image.open(io.BytesIO(_archive(path).read(member))) as picture:
        return np.array(picture.convert("RGB"))


if __name__ == "__main__":
    main()
