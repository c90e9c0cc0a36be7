"""The MTCNN networks on disk: converted once from facenet-pytorch's weights, verified at every load.

They lie in the cache, keyed by the SHA-256 of the weights and of the converter's version:
`CACHE_DIR/mtcnn/KEY/{pnet,rnet,onet}.onnx` and `manifest.json` with the SHA-256 of each.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from biometrics.errors import ModelUnusable

NETWORKS = ("pnet", "rnet", "onet")
CONVERTER_VERSION = "1"
CONVERSION_TIMEOUT_SECONDS = 300
MANIFEST = "manifest.json"


def load_mtcnn_networks(cache_dir: Path) -> dict[str, bytes]:
    """Return the three ONNX files by name, from the cache or converted now in a process of its own.

    Raises `ModelUnusable` if facenet-pytorch's weights are missing or the conversion fails.
    """
    folder = cache_dir / "mtcnn" / cache_key(weight_files())
    networks = read_verified(folder)
    if networks is None:
        # Another process, so that this one never loads torch.
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "infra.mtcnn_export", str(cache_dir)],
            cwd=Path(__file__).resolve().parent.parent,
            capture_output=True,
            timeout=CONVERSION_TIMEOUT_SECONDS,
            check=False,
        )
        networks = read_verified(folder)
        if done.returncode != 0 or networks is None:
            raise ModelUnusable("The MTCNN weights were not converted; run: python -m infra.mtcnn_export DIR")
    return networks


def weight_files() -> dict[str, Path]:
    """Find the weights in the installed facenet-pytorch without importing it; `ModelUnusable` if absent."""
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise ModelUnusable("The package facenet-pytorch, which carries the MTCNN weights, is not installed.")
    data = Path(spec.origin).parent / "data"
    files = {name: data / f"{name}.pt" for name in NETWORKS}
    if not all(path.is_file() for path in files.values()):
        raise ModelUnusable("The installed facenet-pytorch carries no MTCNN weights.")
    return files


def cache_key(files: Mapping[str, Path]) -> str:
    """Return the SHA-256 over the converter's version and the three weight files, in hexadecimal."""
    digest = hashlib.sha256(CONVERTER_VERSION.encode())
    for name in NETWORKS:
        digest.update(hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()


def store(cache_dir: Path, key: str, networks: Mapping[str, bytes]) -> None:
    """Write converted networks into the cache, all or none; two processes may do this at once."""
    folder = cache_dir / "mtcnn" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        for name, content in networks.items():
            (building / f"{name}.onnx").write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in networks.items()}
        (building / MANIFEST).write_text(json.dumps(digests, indent=1))
        _put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def read_verified(folder: Path) -> dict[str, bytes] | None:
    """Return the networks in a cache folder, or None if any is missing or not what the manifest says."""
    try:
        digests = json.loads((folder / MANIFEST).read_bytes())
        networks = {name: (folder / f"{name}.onnx").read_bytes() for name in NETWORKS}
    except (OSError, ValueError):
        return None
    intact = isinstance(digests, dict) and all(
        hashlib.sha256(networks[name]).hexdigest() == digests.get(name) for name in NETWORKS
    )
    return networks if intact else None


def _put_in_place(building: Path, folder: Path) -> None:
    """Rename the finished folder; a damaged one there is removed, one by a racing process stays."""
    if read_verified(folder) is not None:
        return
    damaged = building.with_name(building.name + "-damaged")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        building.rename(folder)
    except OSError:
        if read_verified(folder) is None:
            raise
