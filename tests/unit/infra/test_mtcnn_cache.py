from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from biometrics.errors import ModelUnusable
from infra import mtcnn_cache
from infra.mtcnn_cache import NETWORKS, cache_key, load_mtcnn_networks, read_verified, store, weight_files
from infra.mtcnn_export import build_onnx, read_weights
from infra.runtime import load_network
from infra.settings import ExecutionProvider


@pytest.fixture(scope="module")
def converted() -> dict[str, bytes]:
    return {name: build_onnx(name, read_weights(path)) for name, path in weight_files().items()}


def test_converted_networks_agree_with_pytorch(converted: dict[str, bytes]) -> None:
    """Against the layers written out in PyTorch, as facenet-pytorch defines them."""
    for name in ("rnet", "onet"):
        size = {"rnet": 24, "onet": 48}[name]
        state = {key: torch.from_numpy(value) for key, value in read_weights(weight_files()[name]).items()}
        batch = np.random.default_rng(0).normal(size=(3, 3, size, size)).astype(np.float32)
        ours = load_network(converted[name], provider=ExecutionProvider.CPU, threads=1).run(batch)
        for mine, theirs in zip(ours, forward(name, state, torch.from_numpy(batch)), strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-5)


def forward(name: str, state: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    f = torch.nn.functional
    pools = {"rnet": (3, 3, 0), "onet": (3, 3, 2, 0)}[name]
    for number, window in enumerate(pools, 1):
        x = f.conv2d(x, state[f"conv{number}.weight"], state[f"conv{number}.bias"])
        x = f.prelu(x, state[f"prelu{number}.weight"])
        x = f.max_pool2d(x, window, 2, ceil_mode=True) if window else x
    dense = len(pools) + 1
    x = x.permute(0, 3, 2, 1).flatten(1)
    x = f.linear(x, state[f"dense{dense}.weight"], state[f"dense{dense}.bias"])
    x = f.prelu(x, state[f"prelu{dense}.weight"])
    heads = [
        f.linear(x, state[f"dense{dense + 1}_{n}.weight"], state[f"dense{dense + 1}_{n}.bias"])
        for n in (2, 3, 1)
        if f"dense{dense + 1}_{n}.weight" in state
    ]
    return [*heads[:-1], heads[-1].softmax(dim=1)]


def test_pnet_takes_any_size_from_twelve_pixels(converted: dict[str, bytes]) -> None:
    network = load_network(converted["pnet"], provider=ExecutionProvider.CPU, threads=1)
    for height, width in ((12, 12), (13, 200), (97, 31)):
        boxes, probability = network.run(np.zeros((1, 3, height, width), np.float32))
        assert boxes.shape[:2] == (1, 4)
        assert probability.shape == (1, 2, *boxes.shape[2:])
        np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-6)


def test_conversion_is_reproducible(converted: dict[str, bytes]) -> None:
    assert build_onnx("pnet", read_weights(weight_files()["pnet"])) == converted["pnet"]


def test_the_networks_are_converted_once_in_another_process_and_then_read(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from infra.mtcnn_cache import load_mtcnn_networks;"
        f"print(len(load_mtcnn_networks(Path({str(tmp_path)!r}))), 'torch' in sys.modules, 'onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False", "False"]
    folder = tmp_path / "mtcnn" / cache_key(weight_files())
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "onet.onnx", "pnet.onnx", "rnet.onnx"]
    assert list(folder.parent.iterdir()) == [folder]
    written = (folder / "pnet.onnx").stat().st_mtime_ns
    assert set(load_mtcnn_networks(tmp_path)) == set(NETWORKS)
    assert (folder / "pnet.onnx").stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["cut", "missing", "no manifest", "foreign manifest"])
def test_a_damaged_cache_is_noticed_and_replaced(damage: str, tmp_path: Path, converted: dict[str, bytes]) -> None:
    key = cache_key(weight_files())
    store(tmp_path, key, converted)
    folder = tmp_path / "mtcnn" / key
    if damage == "cut":
        (folder / "onet.onnx").write_bytes(converted["onet"][:-1])
    elif damage == "missing":
        (folder / "rnet.onnx").unlink()
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(json.dumps(["pnet"]))
    assert read_verified(folder) is None
    store(tmp_path, key, converted)
    assert read_verified(folder) == converted


def test_two_conversions_at_once_leave_one_intact_result(tmp_path: Path, converted: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store(tmp_path, "key", converted), range(32)))
    assert read_verified(tmp_path / "mtcnn" / "key") == converted
    assert [path.name for path in (tmp_path / "mtcnn").iterdir()] == ["key"]


def test_a_missing_package_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mtcnn_cache.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnusable, match="facenet-pytorch"):
        load_mtcnn_networks(tmp_path)
