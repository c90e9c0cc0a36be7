from __future__ import annotations

import subprocess
import sys

import pytest

from biometrics.card import ModelCard
from biometrics.errors import ModelUnusable
from infra.models import build_embedder, find_card, list_cards, verify_all
from infra.settings import Settings


def test_every_network_in_the_package_is_what_its_card_says() -> None:
    findings = verify_all()
    assert [card.name for card, problem in findings if problem] == []
    assert len(findings) == len(list_cards()) >= 1


def test_every_card_is_honest_about_its_limits_and_has_operating_points() -> None:
    for card, _ in list_cards():
        assert card.limits
        assert card.licence
        rates = [point.rate for point in card.operating_points]
        assert rates
        assert len(set(rates)) == len(rates)


def test_the_default_embedder_covers_the_default_false_match_rate() -> None:
    settings = Settings()
    card, _ = find_card("embedder", settings.embedder)
    assert min(point.rate for point in card.operating_points) <= settings.fmr
    assert build_embedder(settings).model_digest == card.sha256


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("embedder", "unknown"),
        ("embedder", ""),
        ("embedder", "../weights/mobilefacenet512"),
        ("oracle", "x"),
        ("pad", "mobilefacenet512"),
    ],
)
def test_unknown_networks_are_refused(task: str, name: str) -> None:
    with pytest.raises(ModelUnusable):
        find_card(task, name)


def test_a_changed_network_is_refused(tmp_path) -> None:
    card, folder = find_card("embedder", "mobilefacenet512")
    content = bytearray((folder / card.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / card.file).write_bytes(content)
    with pytest.raises(ModelUnusable, match="not the one"):
        card.verified_bytes(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1}'])
def test_a_wrong_card_is_refused(text: str, tmp_path) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ModelUnusable):
        ModelCard.load(tmp_path / "card.json")


def test_building_the_networks_imports_neither_torch_nor_onnx() -> None:
    code = (
        "import sys; from infra.models import build_detector, build_embedder; from infra.settings import Settings;"
        "build_detector(Settings()); build_embedder(Settings());"
        "print(sorted({'torch', 'onnx', 'torchvision', 'facenet_pytorch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
