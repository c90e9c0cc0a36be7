"""The composition root refuses what would not be safe."""

from __future__ import annotations

import resource

import pytest

from biometrics.errors import ModelUnusable
from infra.settings import Settings
from infra.telemetry import Metrics
from services.bootstrap import Networks, Storage, build_dwarpal, forbid_core_dumps
from tests.factories import NOON, make_card, make_face
from tests.fakes import FakeClock, FakeFaceDetector, FakeFaceEmbedder, FakeKeyStore, FakePadDetector

CARD = make_card((1e-4, 0.45), (1e-3, 0.38), (1e-2, 0.29))


def build(settings: Settings, *, pad: bool) -> None:
    storage = Storage(settings, FakeClock(NOON), None, FakeKeyStore())  # type: ignore[arg-type]
    networks = Networks(FakeFaceDetector(make_face()), FakeFaceEmbedder(), CARD, FakePadDetector() if pad else None, {})
    build_dwarpal(settings, Metrics(), storage=storage, networks=networks)


def test_a_gate_without_pad_refuses_to_start() -> None:
    with pytest.raises(ModelUnusable) as caught:
        build(Settings(), pad=False)
    assert caught.value.code == "no_pad"


def test_an_error_rate_that_nobody_measured_stops_the_start() -> None:
    with pytest.raises(ModelUnusable, match="measured down to"):
        build(Settings(fmr=1e-6), pad=True)


def test_a_crash_leaves_no_core() -> None:
    forbid_core_dumps()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
