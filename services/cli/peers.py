"""`dwarpal evaluate peers`: our embedder beside other systems, on the same photographs (docs/accuracy.md).

Networks in ONNX run here, where the inference runtime is; a peer that brings torch or dlib runs as a process of its own
from `training`, so that the command never loads it and each system has its threads to itself. What was measured is kept
in a folder, one file for each system: an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import AsJson
from services.cli.outcome import CommandFailed, ExitCode
from services.cli.output import print_json, progress_bar, remark

if TYPE_CHECKING:
    from biometrics.ports import Network
    from evaluation.peers import AlignedNetwork, Peer, PeerReport
    from evaluation.protocol import Pair
    from infra.settings import Settings

OURS, TEACHER = "ours", "teacher"
PEERS = ("dlib", "dlib-our-faces", "facenet")
NOT_INSTALLED = 4
"""How `training.compare_peers` ends where a peer's package is missing."""

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""The teacher's mean and standard deviation on RGB 0-255."""

Images = Annotated[Path, typer.Option("--images", help="Folder or zip file in which the CSV's image paths lie.")]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one run compares, and where it keeps what it measured."""

    pairs: list[Pair]
    pairs_csv: Path
    images: Path
    folder: Path
    settings: Settings
    timed: int
    teacher: Path | None
    facenet_weights: Path | None

    def key(self, system: str) -> str:
        """Return a digest of everything that a system's figures depend on."""
        settings = self.settings
        parts = [system, str(self.timed), str(settings.inference_threads), str(settings.farthest_face_pixels)]
        parts += [_digest(self.pairs_csv), _digest(self.images)]
        match system:
            case "ours":
                parts += [_card_digest(settings), settings.execution_provider, str(settings.embedder_flip)]
            case "teacher":
                parts += [_digest(self.teacher), settings.execution_provider, str(settings.embedder_flip)]
            case "facenet":
                parts += [_version("facenet-pytorch"), _digest(self.facenet_weights)]
            case _:
                parts += [_version("dlib-bin"), _version("dlib"), _version("face_recognition_models")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def peers(
    pairs_csv: Annotated[Path, typer.Argument(metavar="PAIRS.csv", help="As for `evaluate verification`.")],
    images: Images,
    embedder: Annotated[str | None, typer.Option(help="Our card to measure; else that of DWARPAL_EMBEDDER.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="ONNX file of the teacher, MobileFaceNet 128-D.")] = None,
    facenet_weights: Annotated[
        Path | None, typer.Option(help="State dict of InceptionResnetV1; without it only its speed is measured.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Just this system; may be repeated.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for every system.")] = 1,
    timed: Annotated[int, typer.Option(min=1, help="Photographs whose time counts.")] = 300,
    folder: Annotated[Path, typer.Option(help="Where figures are kept; a second run goes on from there.")] = Path(
        "runs/peers"
    ),
    as_json: AsJson = False,
) -> None:
    """Our embedder, its teacher, dlib and facenet-pytorch, whole pipeline, on the same photographs.

    The peers need the extra `peers`; one that is not installed is left out, and named.
    """
    from evaluation.protocol import read_pairs
    from infra.settings import Settings

    pairs = read_pairs(pairs_csv)
    settings = Settings()
    changes: dict[str, object] = {"inference_threads": threads} | ({"embedder": embedder} if embedder else {})
    comparison = Comparison(
        pairs, pairs_csv, images, folder, settings.model_copy(update=changes), timed, teacher, facenet_weights
    )
    reports = [report for system in _systems(only, teacher) if (report := _report(comparison, system)) is not None]
    if as_json:
        print_json([_plain(report) for report in reports])
    else:
        from services.cli.peer_tables import show_peers

        show_peers(reports, threads)


def _systems(only: list[str] | None, teacher: Path | None) -> list[str]:
    known = [OURS, *([TEACHER] if teacher is not None else []), *PEERS]
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise CommandFailed(f"There is no system {unknown[0]} here, only {', '.join(known)}.")
    return [name for name in known if name in (only or known)]


def _report(comparison: Comparison, system: str) -> PeerReport | None:
    """Return what was measured before under the same conditions, else measure now; None without the package."""
    kept = comparison.folder / f"{system}.json"
    key = comparison.key(system)
    found = _kept(kept, key)
    if found is not None:
        remark(f"{system}: kept from {kept}")
        return found
    comparison.folder.mkdir(parents=True, exist_ok=True)
    report = _in_process(comparison, system) if system in PEERS else _on_runtime(comparison, system)
    if report is not None:
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps({"key": key, "report": _plain(report)}, indent=1), encoding="utf-8")
        unfinished.replace(kept)
    return report


def _kept(path: Path, key: str) -> PeerReport | None:
    from pydantic import TypeAdapter, ValidationError

    from evaluation.peers import PeerReport

    try:
        stored = json.loads(path.read_bytes())
        if not isinstance(stored, dict) or stored.get("key") != key:
            return None
        return TypeAdapter(PeerReport).validate_json(json.dumps(stored.get("report")))
    except (OSError, ValueError, ValidationError):
        return None


def _plain(report: PeerReport) -> object:
    from pydantic import TypeAdapter

    from evaluation.peers import PeerReport

    return TypeAdapter(PeerReport).dump_python(report, mode="json")


def _on_runtime(comparison: Comparison, system: str) -> PeerReport:
    """Measure our network, or the teacher in its place."""
    import cv2

    from biometrics.decoding import decode_image
    from evaluation.images import open_images
    from evaluation.peers import measure

    settings = comparison.settings
    cv2.setNumThreads(settings.inference_threads)
    recognizer, about = _our_system(settings) if system == OURS else _teacher_system(settings, comparison.teacher)
    most, largest = settings.max_image_bytes, settings.max_image_pixels
    with open_images(comparison.images) as source, progress_bar(system) as progress:
        return measure(
            recognizer,
            about,
            comparison.pairs,
            lambda name: decode_image(source.read(name, most), max_bytes=most, max_pixels=largest),
            timed=comparison.timed,
            progress=progress,
        )


def _our_system(settings: Settings) -> tuple[AlignedNetwork, Peer]:
    from evaluation.peers import Peer
    from infra.models import find_card, site_folder

    card, folder = find_card("embedder", settings.embedder, site_folder(settings))
    content = card.verified_bytes(folder)
    recognizer, network = _aligned(settings, content, card.input.mean, card.input.std)
    return recognizer, Peer(
        name=OURS,
        what=f"{card.name}: {card.architecture}",
        size=_embedding_size(network, card.input.size),
        parameters=card.parameters,
        weight_bytes=len(content),
        runtime=network.provider_name,
        licence=card.licence,
        notes=_mirrored(settings),
    )


def _teacher_system(settings: Settings, path: Path | None) -> tuple[AlignedNetwork, Peer]:
    from evaluation.peers import Peer

    if path is None:
        raise CommandFailed("The teacher needs its file: --teacher FILE.")
    content = path.read_bytes()
    recognizer, network = _aligned(settings, content, *IMAGENET)
    return recognizer, Peer(
        name=TEACHER,
        what="MobileFaceNet, behind our detector and alignment",
        size=_embedding_size(network, 112),
        parameters=_count_parameters(content),
        weight_bytes=len(content),
        runtime=network.provider_name,
        licence="Apache-2.0; trained by its author on refined MS-Celeb-1M",
        notes=_mirrored(settings),
    )


def _aligned(
    settings: Settings, content: bytes, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[AlignedNetwork, Network]:
    from evaluation.peers import AlignedNetwork
    from infra.models import build_detector
    from infra.runtime import load_network

    network = load_network(content, provider=settings.execution_provider, threads=settings.inference_threads)
    detector = build_detector(settings)
    return AlignedNetwork(detector, network, mean=mean, std=std, flip=settings.embedder_flip), network


def _embedding_size(network: Network, pixels: int) -> int:
    import numpy as np

    return int(network.run(np.zeros((1, 3, pixels, pixels), np.float32))[0].shape[1])


def _count_parameters(content: bytes) -> int:
    import math

    import onnx

    return sum(math.prod(tensor.dims) for tensor in onnx.load_from_string(content).graph.initializer)


def _mirrored(settings: Settings) -> tuple[str, ...]:
    return ("mean of the face and its mirror image: the network runs on both",) if settings.embedder_flip else ()


def _in_process(comparison: Comparison, system: str) -> PeerReport | None:
    """Measure a peer in a process of its own, whose progress and remarks appear as ours."""
    from pydantic import TypeAdapter

    from evaluation.peers import PeerReport

    settings = comparison.settings
    output = comparison.folder.resolve() / f"{system}.measured"
    options: dict[str, object] = {
        "--pairs": comparison.pairs_csv.resolve(),
        "--images": comparison.images.resolve(),
        "--threads": settings.inference_threads,
        "--timed": comparison.timed,
        "--farthest": settings.farthest_face_pixels,
        "--max-bytes": settings.max_image_bytes,
        "--max-pixels": settings.max_image_pixels,
    }
    if system == "facenet" and comparison.facenet_weights is not None:
        options["--facenet-weights"] = comparison.facenet_weights.resolve()
    arguments = [str(part) for option in options.items() for part in option]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "training.compare_peers", system, str(output), *arguments],
        cwd=Path(__file__).resolve().parents[2],
        check=False,
    )
    if done.returncode == NOT_INSTALLED:
        return None
    if done.returncode != 0:
        raise CommandFailed(f"The peer {system} could not be measured.", ExitCode.UNAVAILABLE)
    report = TypeAdapter(PeerReport).validate_json(output.read_bytes())
    output.unlink()
    return report


def _card_digest(settings: Settings) -> str:
    from infra.models import find_card, site_folder

    return find_card("embedder", settings.embedder, site_folder(settings))[0].sha256


def _digest(path: Path | None) -> str:
    """Return the SHA-256 of a file, or what stands for a folder or for nothing."""
    if path is None:
        return ""
    if path.is_dir():
        return str(path.resolve())
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
