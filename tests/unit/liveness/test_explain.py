from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from biometrics.types import Box, Face, Pixels
from liveness.explain import CELLS, drawing, explain, text_map
from liveness.pad import PadNetwork
from services.cli.main import app
from tests.fakes import FakeNetwork
from tests.unit.liveness.test_pad import CARD

FACE = Face(Box(16, 16, 32, 32), 0.99, np.array([[26, 28], [38, 28], [32, 34], [28, 40], [36, 40]], np.float32))


def seeing_one_corner(batch: np.ndarray) -> list[np.ndarray]:
    """Likes detail in the upper left quarter, and nothing else."""
    detail = np.abs(np.diff(batch[:, :, :16, :16], axis=3)).mean(axis=(1, 2, 3))
    return [(1 / (1 + np.exp(-8 * (detail - detail * 0 - 0.2)))).reshape(-1, 1).astype(np.float32)]


@pytest.fixture
def noise() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_the_map_shows_where_the_network_looks(noise: Pixels) -> None:
    found = explain(PadNetwork(FakeNetwork(seeing_one_corner), CARD), noise, FACE)
    assert found.evidence.shape == (CELLS, CELLS)
    half = CELLS // 2
    assert found.evidence[: half - 2, : half - 2].min() > 0
    assert np.abs(found.evidence[half + 2 :, half + 2 :]).max() < 0.01
    assert found.evidence.max() > 10 * np.abs(found.evidence[half + 2 :]).max()


def test_a_network_that_looks_at_nothing_gives_an_empty_map(noise: Pixels) -> None:
    pad = PadNetwork(FakeNetwork(lambda batch: [np.full((len(batch), 1), 0.7, np.float32)]), CARD)
    found = explain(pad, noise, FACE)
    assert not found.evidence.any()
    assert text_map(found) == [" ".join("." * CELLS)] * CELLS
    picture = drawing(found)
    assert picture.shape == (32, 64, 3)
    assert np.ptp(picture[:, 32:].astype(int), axis=2).max() == 0  # gray: no part speaks for anything


def test_the_command_writes_the_drawing_asked_for_and_nothing_else(
    astronaut: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph, drawn = tmp_path / "photograph.png", tmp_path / "drawn.png"
    photograph.write_bytes(cv2.imencode(".png", astronaut[:300, 100:400, ::-1])[1].tobytes())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["explain", "pad", str(photograph), "-o", str(drawn)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "PAD takes this for" in result.stdout
    assert "0." not in result.stdout  # no score leaves the system
    assert sorted(tmp_path.iterdir()) == [drawn, photograph]
    assert drawn.stat().st_mode & 0o777 == 0o600
    height, width = cv2.imread(str(drawn)).shape[:2]
    assert width == 2 * height


def test_a_picture_without_a_face_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(cv2.imencode(".png", np.full((200, 200, 3), 99, np.uint8))[1].tobytes())
    result = CliRunner().invoke(app, ["explain", "pad", str(empty)])
    assert result.exit_code != 0
    assert "Traceback" not in result.output
