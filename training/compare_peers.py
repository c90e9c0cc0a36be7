"""Measures one peer in a process of its own, and writes what it can do as JSON.

    python -m training.compare_peers PEER OUTPUT.json --pairs PAIRS.csv --images DIR [--threads 1] [--timed 300]

`dwarpal evaluate peers` runs this for each peer beside our own networks; the peers' libraries (extra `peers`, torch)
are loaded here and nowhere else. `dlib-our-faces` lets our detector say where the face is, and dlib do the rest, so
that dlib's network can be told from its detector. Ends with 4 if the peer's package is not installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from biometrics.decoding import decode_image
from biometrics.types import Box, Pixels
from evaluation import acquisition
from evaluation.images import ImageSource, open_images
from evaluation.peers import TIMED, PeerReport, measure
from evaluation.protocol import Pair, read_pairs

PEERS = ("dlib", "dlib-our-faces", "facenet")
NOT_INSTALLED = 4

Measure = Callable[[list[Pair], acquisition.LoadImage, acquisition.Progress], PeerReport]


def main() -> None:
    """Measure one peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timed", type=int, default=TIMED)
    parser.add_argument("--farthest", type=int, default=60, help="smallest face of our detector, in pixels")
    parser.add_argument("--facenet-weights", type=Path, default=None)
    parser.add_argument("--max-bytes", type=int, default=10 * 2**20)
    parser.add_argument("--max-pixels", type=int, default=16_000_000)
    options = parser.parse_args()
    limit_threads(options.threads)
    try:
        measured = prepared(
            options.peer, timed=options.timed, farthest=options.farthest, weights=options.facenet_weights
        )
    except ModuleNotFoundError as error:
        print(f"{options.peer}: {error.name} is not installed (pip install 'dwarpal[peers]')", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    with open_images(options.images) as source, _progress() as bar:
        task = bar.add_task(options.peer, total=None)
        report = measured(
            read_pairs(options.pairs),
            partial(_decoded, source, options.max_bytes, options.max_pixels),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    options.output.write_bytes(TypeAdapter(PeerReport).dump_json(report, indent=1))


def limit_threads(threads: int) -> None:
    """Give every library that may compute here so many threads."""
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # read by dlib's libraries, which are not loaded yet


def prepared(peer: str, *, timed: int, farthest: int, weights: Path | None) -> Measure:
    """Load a peer; raise `ModuleNotFoundError` if its package is not installed."""
    if peer == "facenet":
        from training import peer_facenet

        facenet = peer_facenet.FacenetRecognizer(weights)
        about = peer_facenet.describe(peer, facenet, weights)
        accuracy = weights is not None
        return lambda pairs, load, progress: measure(
            facenet, about, pairs, load, accuracy=accuracy, timed=timed, progress=progress
        )
    from training import peer_dlib

    folder = peer_dlib.weights_folder()
    ours = peer == "dlib-our-faces"
    dlib_peer = peer_dlib.DlibRecognizer(folder, our_boxes(farthest) if ours else None)
    about = peer_dlib.describe(peer, folder, *(("our detector, run by torch here",) if ours else ()))
    return lambda pairs, load, progress: measure(dlib_peer, about, pairs, load, timed=timed, progress=progress)


def our_boxes(farthest: int) -> Callable[[Pixels], list[Box]]:
    """Return what finds faces with our own cascade."""
    from training.pad_faces import build_detector

    detector = build_detector(farthest_face_pixels=farthest)
    return lambda image: [dlib_like(face.box) for face in detector.detect(image)]


def dlib_like(box: Box) -> Box:
    """Return the square that dlib's detector would give for a face in our box.

    Its landmarks were trained on such squares. The numbers are medians over 143 faces of LFW that both detectors found.
    """
    side = 0.86 * box.height
    x, y = box.center
    return Box(x - side / 2, y + 0.048 * box.height - side / 2, side, side)


def _decoded(source: ImageSource, max_bytes: int, max_pixels: int, name: str) -> Pixels:
    return decode_image(source.read(name, max_bytes), max_bytes=max_bytes, max_pixels=max_pixels)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


if __name__ == "__main__":
    main()
