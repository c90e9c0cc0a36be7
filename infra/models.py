"""Finds networks and their cards in the package, and builds what runs them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from biometrics.card import ModelCard
from biometrics.embedding import ArcFaceEmbedder
from biometrics.errors import ModelUnusable
from biometrics.mtcnn import MtcnnDetector
from infra.mtcnn_cache import NETWORKS, load_mtcnn_networks
from infra.runtime import OnnxNetwork, choose_provider, load_network
from infra.settings import ExecutionProvider, Settings
from liveness.pad import PadNetwork

WEIGHT_FOLDERS = {"embedder": "biometrics", "pad": "liveness"}
"""Which package carries the weights for a task, in its folder `weights`."""

GPUS = frozenset({ExecutionProvider.CUDA, ExecutionProvider.TENSORRT})


def weights_folder(task: str) -> Path:
    """Return the folder with the networks and cards for a task."""
    return Path(str(files(WEIGHT_FOLDERS[task]))) / "weights"


def find_card(task: str, name: str) -> tuple[ModelCard, Path]:
    """Return a card and the folder of its network; raise `ModelUnusable` if there is no such card."""
    if task not in WEIGHT_FOLDERS or Path(name).name != name or not name:
        raise ModelUnusable("There is no such network.")
    folder = weights_folder(task)
    card = ModelCard.load(folder / f"{name}.json")
    if card.task != task or card.name != name:
        raise ModelUnusable(f"The model card {name}.json describes another network.")
    return card, folder


def list_cards() -> list[tuple[ModelCard, Path]]:
    """Return every card in the package with its folder, by task and name."""
    return [
        find_card(task, path.stem)
        for task in sorted(WEIGHT_FOLDERS)
        for path in sorted(weights_folder(task).glob("*.json"))
    ]


def verify_all() -> list[tuple[ModelCard, str]]:
    """Check every network against its card: return each card with what is wrong, empty if nothing is."""
    findings = []
    for card, folder in list_cards():
        try:
            card.verified_bytes(folder)
            findings.append((card, ""))
        except ModelUnusable as error:
            findings.append((card, error.detail))
    return findings


def build_detector(settings: Settings) -> MtcnnDetector:
    """Build the face detector; raise `ModelUnusable` if its networks cannot be had."""
    contents = load_mtcnn_networks(settings.cache_dir)
    pnet, rnet, onet = (_load_cascade_network(contents[name], settings) for name in NETWORKS)
    return MtcnnDetector(
        pnet,
        rnet,
        onet,
        farthest_face_pixels=settings.farthest_face_pixels,
        nearest_face_pixels=settings.nearest_face_pixels,
    )


def _load_cascade_network(content: bytes, settings: Settings) -> OnnxNetwork:
    """Load a detector network on CUDA if a GPU was chosen, else on plain CPU.

    The cascade's shapes change with every image: TensorRT and OpenVINO would compile again and again.
    """
    threads = settings.inference_threads
    if GPUS.intersection(choose_provider(settings.execution_provider)):
        try:
            return load_network(content, provider=ExecutionProvider.CUDA, threads=threads)
        except ModelUnusable:
            # Present in ONNX Runtime, but this machine has no GPU that works: only `auto` may do without.
            if settings.execution_provider is not ExecutionProvider.AUTO:
                raise
    return load_network(content, provider=ExecutionProvider.CPU, threads=threads)


def build_embedder(settings: Settings) -> ArcFaceEmbedder:
    """Build the embedder that the settings name; raise `ModelUnusable` if it cannot be loaded."""
    card, folder = find_card("embedder", settings.embedder)
    network = load_network(
        card.verified_bytes(folder), provider=settings.execution_provider, threads=settings.inference_threads
    )
    return ArcFaceEmbedder(network, card, flip=settings.embedder_flip)


def build_pad(settings: Settings) -> PadNetwork:
    """Build the PAD network that the settings name; raise `ModelUnusable` if it cannot be loaded."""
    card, folder = find_card("pad", settings.pad)
    network = load_network(
        card.verified_bytes(folder), provider=settings.execution_provider, threads=settings.inference_threads
    )
    return PadNetwork(network, card, bpcer=settings.pad_bpcer)
