"""Finds networks and their cards, in the package and in the site's own folder, and builds what runs them.

A site's own networks lie in `DATA_DIR/models/NAME/`, each with its card; `dwarpal models import` and `pull` write them
there. A name that stands in both places is refused: nobody may wonder which network answers to it.
"""

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
    """Return the folder in the package with the networks and cards for a task."""
    return Path(str(files(WEIGHT_FOLDERS[task]))) / "weights"


def site_folder(settings: Settings) -> Path:
    """Return the folder of the site's own networks, which need not exist."""
    return settings.data_dir / "models"


def find_card(task: str, name: str, site: Path | None = None, *, by_path: bool = False) -> tuple[ModelCard, Path]:
    """Return a card and the folder of its network, from the package or the folder `site`.

    With `by_path`, which is for evaluation on a command line and never for a service, `name` may also be the path of a
    card. Raises `ModelUnusable` if there is no such card, if there are two, or if it describes something else.
    """
    if by_path and name.endswith(".json"):
        return _card_at(Path(name), task), Path(name).parent
    if task not in WEIGHT_FOLDERS or Path(name).name != name or name in ("", ".", ".."):
        raise ModelUnusable("There is no such network.")
    places = [weights_folder(task)] if site is None else [weights_folder(task), site / name]
    found = [place / f"{name}.json" for place in places if (place / f"{name}.json").is_file()]
    if len(found) != 1:
        raise ModelUnusable(
            f"Two networks have the name {name}: remove or rename the site's own one."
            if found
            else f"There is no network {name} for this task; `dwarpal models list` names all."
        )
    card = _card_at(found[0], task)
    if card.name != name:
        raise ModelUnusable(f"The model card {name}.json describes another network.")
    return card, found[0].parent


def _card_at(path: Path, task: str) -> ModelCard:
    """Read a card that must be for `task` and name a file beside it."""
    card = ModelCard.load(path)
    if card.task != task or Path(card.file).name != card.file:
        raise ModelUnusable(f"The model card {path.name} describes another network.")
    return card


def names_in_package() -> set[str]:
    """Return the names of all networks in the package, whatever their task."""
    return {path.stem for task in WEIGHT_FOLDERS for path in weights_folder(task).glob("*.json")}


def names_in_site(site: Path) -> list[str]:
    """Return the names of the site's own networks; what begins with a dot is unfinished work."""
    return sorted(path.parent.name for path in site.glob("*/*.json") if path.stem == path.parent.name)


def list_cards(site: Path | None = None) -> list[tuple[ModelCard, Path]]:
    """Return every card with its folder, by task and name: the package's, then the site's."""
    packaged = [
        find_card(task, path.stem)
        for task in sorted(WEIGHT_FOLDERS)
        for path in sorted(weights_folder(task).glob("*.json"))
    ]
    own = [] if site is None else [find_card("embedder", name, site) for name in names_in_site(site)]
    return packaged + own


def verify_all(site: Path | None = None) -> list[tuple[ModelCard, str]]:
    """Check every network against its card: return each card with what is wrong, empty if nothing is."""
    findings = []
    for card, folder in list_cards(site):
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


def build_embedder(settings: Settings, *, by_path: bool = False) -> ArcFaceEmbedder:
    """Build the embedder that the settings name; raise `ModelUnusable` if it cannot be loaded.

    With `by_path`, for evaluation only, the name may be the path of a card.
    """
    card, folder = find_card("embedder", settings.embedder, site_folder(settings), by_path=by_path)
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
    return PadNetwork(network, card, bpcer=settings.pad_bpcer, burst_bpcer=settings.effective_pad_burst_bpcer)
