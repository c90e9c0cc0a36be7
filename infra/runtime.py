"""Runs networks: the only file that knows ONNX Runtime.

`auto` takes the best provider that is present: TensorRT, CUDA, OpenVINO where the CPU multiplies in bfloat16
(measured three times as fast as plain CPU there, and no faster without), plain CPU. An explicit choice is
never replaced by another.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from biometrics.errors import ModelUnusable
from biometrics.types import FloatArray
from infra.settings import ExecutionProvider

ORT_NAMES = {
    ExecutionProvider.TENSORRT: "TensorrtExecutionProvider",
    ExecutionProvider.CUDA: "CUDAExecutionProvider",
    ExecutionProvider.OPENVINO: "OpenVINOExecutionProvider",
    ExecutionProvider.CPU: "CPUExecutionProvider",
}
"""ONNX Runtime's names for our settings, best first."""

LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.EPFail,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)

CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
"""No search for the fastest algorithm at every new input shape, and no doubling of the memory pool."""

onnxruntime.disable_telemetry_events()
onnxruntime.set_default_logger_severity(4)


class Input(NamedTuple):
    """A network's input: its name and its sizes, None where any size will do."""

    name: str
    shape: tuple[int | None, ...]


class OnnxNetwork:
    """A loaded network; safe to run from several threads at once."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        first = session.get_inputs()[0]
        self.input = Input(first.name, tuple(n if isinstance(n, int) else None for n in first.shape))

    @property
    def provider_name(self) -> str:
        """ONNX Runtime's name of the provider that runs this network."""
        return str(self._session.get_providers()[0])

    def run(self, batch: FloatArray) -> list[FloatArray]:
        """Run n x C x H x W float32 and return the outputs in their declared order, each with n rows."""
        outputs: list[FloatArray] = self._session.run(None, {self.input.name: batch})
        return outputs


def choose_provider(setting: ExecutionProvider) -> list[ExecutionProvider]:
    """Return the providers to try, best first: for `auto` all that are sensible, else just that one.

    Raises `ModelUnusable` if an explicitly chosen provider is not part of the installed ONNX Runtime.
    """
    available = set(onnxruntime.get_available_providers())
    if setting is not ExecutionProvider.AUTO:
        if ORT_NAMES[setting] not in available:
            raise ModelUnusable(f"The execution provider {setting.value} is not installed here.")
        return [setting]
    present = [provider for provider, name in ORT_NAMES.items() if name in available]
    if not cpu_has_bfloat16():
        present = [provider for provider in present if provider is not ExecutionProvider.OPENVINO]
    return present


def load_network(content: bytes, *, provider: ExecutionProvider, threads: int) -> OnnxNetwork:
    """Load an ONNX file; `threads` for each run, 0 means all cores.

    Raises `ModelUnusable` if the file is wrong, or if the provider asked for (with `auto`: none) does run it.
    """
    for candidate in choose_provider(provider):
        network = _load_on(content, candidate, threads)
        if network is not None:
            return network
    raise ModelUnusable(f"The network cannot be loaded on the execution provider {provider.value}.")


def _load_on(content: bytes, provider: ExecutionProvider, threads: int) -> OnnxNetwork | None:
    """Load on exactly this provider, or return None."""
    try:
        session = onnxruntime.InferenceSession(
            content, _session_options(threads), providers=_providers(provider, threads), enable_fallback=0
        )
    except LOAD_ERRORS:
        return None
    network = OnnxNetwork(session)
    return network if network.provider_name == ORT_NAMES[provider] else None


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    """Quiet, and frugal: an arena keeps the largest batch's memory for ever (measured 450 MB, not 150 MB)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    # Idle threads sleep instead of spinning: several networks take turns on few cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(provider: ExecutionProvider, threads: int) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's provider list: the wanted one, and CUDA under TensorRT for what it cannot run."""
    name = ORT_NAMES[provider]
    if provider is ExecutionProvider.OPENVINO:
        precision = "bf16" if cpu_has_bfloat16() else "f32"
        config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        return [(name, {"device_type": "CPU", "load_config": json.dumps({"CPU": config})})]
    if provider is ExecutionProvider.TENSORRT:
        return [(name, {}), (ORT_NAMES[ExecutionProvider.CUDA], CUDA_OPTIONS)]
    return [(name, CUDA_OPTIONS if provider is ExecutionProvider.CUDA else {})]


@cache
def cpu_has_bfloat16() -> bool:
    """Say whether this CPU has bfloat16 matrix instructions (AVX512-BF16, AMX-BF16); False where unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
