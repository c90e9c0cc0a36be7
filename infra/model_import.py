"""Takes in a face network from elsewhere: an InsightFace state dict or an ArcFace-style ONNX file.

torch is imported only when a state dict is met, and never by the service: this module runs under `dwarpal models`.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from biometrics.card import InputSpec, ModelCard, Provenance
from biometrics.embedding import unit_rows
from biometrics.errors import MalformedInput, ModelUnusable, TooLarge
from biometrics.types import EMBEDDING_SIZE, FloatArray
from infra.iresnet_onnx import iresnet_onnx
from infra.model_store import check_name, store_network
from infra.model_trial import as_input, embeddings, make_patterns, try_network
from infra.onnx_review import INPUT_SIZE, MAX_NETWORK_BYTES, InputDeclaration, review_onnx
from infra.runtime import load_network
from infra.settings import ExecutionProvider

if TYPE_CHECKING:
    import torch

    from biometrics.iresnet import IResNet

PARITY = 0.9999
"""Least cosine between PyTorch and ONNX Runtime, both in float32."""

MAX_LICENCE_BYTES = 1 << 18
TORCH_MAGIC = (b"PK\x03\x04", b"\x80")
"""How PyTorch's files begin: a zip archive, or in old ones a pickle."""

LIMITS = (
    "Not calibrated: no gate opens with this network until `dwarpal calibrate` has measured it on this site's faces.",
    "Its training data, error rates and differences between groups of people are not known to Dwarpal.",
    "Templates of other networks cannot be compared with its own: travellers enroll again after a change.",
)


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a person says about the file: its name here, where it came from, its licence, and its input."""

    name: str
    source: str
    licence_text: str
    declared: InputDeclaration


@dataclass(frozen=True, slots=True)
class Imported:
    """The network as it now lies in the site's folder, and what its operator should look at."""

    card: ModelCard
    advice: tuple[str, ...]


def read_network_file(path: Path) -> bytes:
    """Read a file that may be a network; raise `TooLarge` before reading one that cannot be."""
    if path.stat().st_size > MAX_NETWORK_BYTES:
        raise TooLarge(f"The network is larger than {MAX_NETWORK_BYTES >> 20} MiB.")
    return path.read_bytes()


def import_network(content: bytes, request: ImportRequest, *, site: Path, now: datetime) -> Imported:
    """Check, convert, try and store a network; the licence was confirmed at `now`.

    1. name and licence; 2. a state dict becomes ONNX; 3. the review, which runs nothing; 4. the trial on patterns;
    5. card and network, both or neither.

    Raises `MalformedInput`, `Conflict` (name taken) or `ModelUnusable` with the reason; then nothing was stored.
    """
    # 1. name and licence
    check_name(request.name, site)
    if not request.licence_text.strip() or len(request.licence_text.encode()) > MAX_LICENCE_BYTES:
        raise MalformedInput("A network needs the text of its licence, of at most 256 KiB.")
    # 2. to ONNX
    converted = state_dict_to_onnx(content) if content.startswith(TORCH_MAGIC) else None
    # 3. the review
    reviewed = review_onnx(content if converted is None else converted.onnx, request.declared)
    # 4. the trial
    trial = try_network(reviewed.content, request.declared)
    # 5. card and network
    origin = "ONNX file" if converted is None else f"{converted.architecture}, from a PyTorch state dict"
    checks = trial.as_json() | ({} if converted is None else {"cosine_torch_to_onnx": round(converted.parity, 7)})
    card = ModelCard(
        name=request.name,
        task="embedder",
        file=f"{request.name}.onnx",
        sha256=hashlib.sha256(reviewed.content).hexdigest(),
        architecture=f"{origin}; opset {reviewed.opset}, {reviewed.operators} operators"
        + (", its batch of one opened" if reviewed.batch_opened else "")
        + (", channels swapped to BGR inside" if request.declared.bgr else ""),
        parameters=reviewed.parameters,
        input=InputSpec(
            size=INPUT_SIZE,
            mean=request.declared.mean,
            std=request.declared.std,
            crop="face aligned by five landmarks to the ArcFace 112 x 112 template, RGB",
            context=1.0,
        ),
        output=f"embedding: n x {EMBEDDING_SIZE} float32, scaled to unit length by Dwarpal; compared by cosine",
        licence=request.licence_text.strip().splitlines()[0][:200],
        training={"note": "trained elsewhere; ask its source"},
        evaluation={"checks_at_import": checks},
        operating_points=(),
        limits=LIMITS,
        provenance=Provenance(
            source=request.source,
            source_sha256=hashlib.sha256(content).hexdigest(),
            licence_text=request.licence_text,
            accepted_at=now,
        ),
    )
    store_network(site, card, reviewed.content)
    return Imported(card, trial.advice)


@dataclass(frozen=True, slots=True)
class Converted:
    """An IResNet as ONNX, and the least cosine to PyTorch's own output on the patterns."""

    onnx: bytes
    architecture: str
    parity: float


def state_dict_to_onnx(content: bytes) -> Converted:
    """Convert an InsightFace IResNet-18, 34, 50 or 100 and hold it against PyTorch; `ModelUnusable` if it differs."""
    network = load_iresnet(content)
    parameters = {
        name: np.asarray(tensor.numpy(), np.float32)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    onnx = iresnet_onnx(parameters)
    parity = _parity(network, onnx)
    if not parity >= PARITY:
        raise ModelUnusable(f"The converted network does not agree with PyTorch's (cosine {parity:.6f}).")
    config = network.config
    return Converted(onnx, f"IResNet-{config.depth}, width {config.width}", parity)


def load_iresnet(content: bytes) -> IResNet:
    """Return the network of a state dict, in evaluation mode, running no code from the file.

    Wrappings are taken off: `{"state_dict": ...}` and the prefix `module.` of data-parallel training. Raises
    `ModelUnusable` if a parameter is missing, unknown, of another shape, or not finite.
    """
    import torch

    from biometrics.iresnet import IResNet, IResNetConfig

    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in _read_state(content).items()
    }
    config = IResNetConfig.from_state_dict(state)
    if config.embedding_size != EMBEDDING_SIZE:
        raise ModelUnusable(f"The network returns {config.embedding_size} numbers; templates have {EMBEDDING_SIZE}.")
    with torch.device("meta"):  # shapes without memory: a forged file must not ask for gigabytes
        wanted = {name: tensor.shape for name, tensor in IResNet(config).state_dict().items()}
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.tensor(0))
        if name not in state or state[name].shape != shape:
            raise ModelUnusable(f"The state dict's {name} is missing or not {' x '.join(map(str, shape))}.")
        if not bool(torch.isfinite(state[name]).all()):
            raise ModelUnusable(f"The state dict's {name} holds numbers that are not finite.")
    if unknown := sorted(state.keys() - wanted.keys()):
        raise ModelUnusable(f"The state dict holds what IResNet-{config.depth} does not: {unknown[0][:80]}.")
    network = IResNet(config)
    network.load_state_dict(state)
    return network.eval()


def _read_state(content: bytes) -> Mapping[str, torch.Tensor]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats: what matters is what comes out
            loaded: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a forged file can make the reader stumble in any way it likes
        raise ModelUnusable("The file is no PyTorch state dict that can be read without running code.") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not loaded:
        raise ModelUnusable("The file is no state dict.")
    state: dict[str, torch.Tensor] = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
            raise ModelUnusable("The file is no state dict: it holds more than named parameters.")
        state[name.removeprefix("module.")] = tensor.detach()
    if len(state) != len(loaded):
        raise ModelUnusable("The state dict names a parameter twice.")
    return state


def _parity(network: IResNet, onnx: bytes) -> float:
    """Return the least cosine between PyTorch and ONNX Runtime over the patterns."""
    import torch

    batch = as_input(make_patterns(), InputDeclaration())
    with torch.inference_mode():
        theirs: FloatArray = network(torch.from_numpy(batch)).numpy()
    ours = embeddings(load_network(onnx, provider=ExecutionProvider.CPU, threads=0), batch)
    return float(np.min(np.sum(unit_rows(ours) * unit_rows(theirs), axis=1)))
