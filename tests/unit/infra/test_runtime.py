from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import psutil
import pytest

from biometrics.errors import ModelUnusable
from infra.models import find_card
from infra.runtime import ORT_NAMES, choose_provider, cpu_has_bfloat16, load_network
from infra.settings import ExecutionProvider

AVAILABLE = set(onnxruntime.get_available_providers())
ABSENT = [provider for provider, name in ORT_NAMES.items() if name not in AVAILABLE]
PRESENT = [provider for provider, name in ORT_NAMES.items() if name in AVAILABLE]


@pytest.fixture(scope="module")
def content() -> bytes:
    card, folder = find_card("embedder", "mobilefacenet512")
    return card.verified_bytes(folder)


@pytest.mark.parametrize("provider", ABSENT)
def test_an_explicit_provider_that_is_absent_is_never_replaced(provider: ExecutionProvider, content: bytes) -> None:
    with pytest.raises(ModelUnusable, match=provider.value):
        choose_provider(provider)
    with pytest.raises(ModelUnusable):
        load_network(content, provider=provider, threads=1)


@pytest.mark.parametrize("provider", [ExecutionProvider.CPU, ExecutionProvider.OPENVINO])
def test_an_explicit_provider_that_is_present_runs_the_network(provider: ExecutionProvider, content: bytes) -> None:
    if provider not in PRESENT:
        pytest.skip("this ONNX Runtime has no OpenVINO")
    network = load_network(content, provider=provider, threads=1)
    assert network.provider_name == ORT_NAMES[provider]
    (output,) = network.run(np.zeros((2, 3, 112, 112), np.float32))
    assert output.shape == (2, 512)


def test_auto_ends_with_plain_cpu_and_prefers_what_is_measured_faster() -> None:
    candidates = choose_provider(ExecutionProvider.AUTO)
    assert candidates[-1] is ExecutionProvider.CPU
    assert set(candidates) <= set(PRESENT)
    openvino = ExecutionProvider.OPENVINO in PRESENT and cpu_has_bfloat16()
    assert (ExecutionProvider.OPENVINO in candidates) is openvino


@pytest.mark.parametrize("provider", [ExecutionProvider.AUTO, ExecutionProvider.CPU])
@pytest.mark.parametrize("broken", [b"", b"not a network", b"\x08\x08" + bytes(100)])
def test_a_broken_file_is_unusable(provider: ExecutionProvider, broken: bytes) -> None:
    with pytest.raises(ModelUnusable):
        load_network(broken, provider=provider, threads=1)


def test_many_batch_sizes_from_many_threads_leave_memory_flat(content: bytes) -> None:
    network = load_network(content, provider=ExecutionProvider.AUTO, threads=2)
    batches = [np.random.default_rng(n).normal(size=(n, 3, 112, 112)).astype(np.float32) for n in (1, 2, 4, 8)]
    expected = [hashlib.sha256(network.run(batch)[0]).digest() for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        before = 0
        for turn in range(8):
            results = pool.map(lambda i: network.run(batches[i % 4])[0], range(16))
            assert [hashlib.sha256(result).digest() for result in results] == expected * 4
            if turn == 3:
                before = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss - before < 64 * 2**20
