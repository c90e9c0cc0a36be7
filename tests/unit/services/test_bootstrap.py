"""The composition root refuses what would not be safe."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from structlog.testing import capture_logs

from biometrics.card import ModelCard
from biometrics.errors import CalibrationUnusable, ModelUnusable
from infra.models import find_card
from infra.settings import Settings
from infra.telemetry import Metrics
from services.bootstrap import Networks, build_dwarpal, build_storage, forbid_core_dumps
from tests.factories import make_card, make_face
from tests.fakes import FakeFaceDetector, FakeFaceEmbedder, FakePadDetector

SHIPPED, _ = find_card("embedder", "mobilefacenet512")


def build(folder: Path, *, card: ModelCard = SHIPPED, pad: bool = True, **changes: object) -> None:
    settings = Settings(data_dir=folder, **changes)  # type: ignore[arg-type]
    storage = build_storage(settings)
    networks = Networks(FakeFaceDetector(make_face()), FakeFaceEmbedder(), card, FakePadDetector() if pad else None, {})
    try:
        build_dwarpal(settings, Metrics(), storage=storage, networks=networks).close()
    finally:
        storage.engine.dispose()


def test_a_shipped_network_serves_by_its_card(tmp_path: Path) -> None:
    build(tmp_path)


def test_a_gate_without_pad_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable) as caught:
        build(tmp_path, pad=False)
    assert caught.value.code == "no_pad"


def test_an_error_rate_that_nobody_measured_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="measured down to"):
        build(tmp_path, fmr=1e-6)


@pytest.mark.parametrize(
    "card",
    [
        make_card(),
        make_card((1e-4, 0.45), (1e-3, 0.38)),
        SHIPPED.model_copy(update={"operating_points": make_card((1e-3, -0.9)).operating_points}),
        SHIPPED.model_copy(update={"operating_points": ()}),
    ],
    ids=["without points", "points that are not ours", "shipped, with other points", "shipped, without points"],
)
def test_a_network_that_nobody_calibrated_refuses_to_start(tmp_path: Path, card: ModelCard) -> None:
    with pytest.raises(CalibrationUnusable, match="run `dwarpal calibrate`") as caught:
        build(tmp_path, card=card)
    assert caught.value.code == "not_calibrated"


def test_a_card_measured_with_the_other_flip_setting_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(CalibrationUnusable, match="DWARPAL_EMBEDDER_FLIP=true"):
        build(tmp_path, embedder_flip=False)


def test_an_explicit_cosine_needs_no_calibration(tmp_path: Path) -> None:
    build(tmp_path, card=make_card(), cosine_threshold=0.4)


def test_a_crash_leaves_no_core() -> None:
    forbid_core_dumps()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.parametrize(("swap", "said"), [(0, []), (2**30, ["swap_is_on"])])
def test_swap_is_warned_of_once_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: int, said: list[str]
) -> None:
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=swap))
    with capture_logs() as lines:
        build(tmp_path)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == said
