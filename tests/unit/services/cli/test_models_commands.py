"""`dwarpal models`: bringing a network, looking at it, and taking it away again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from biometrics.errors import ModelUnusable
from infra.models import find_card, site_folder
from infra.settings import Settings
from services.bootstrap import build_storage
from services.calibration import calibration_in_force
from services.cli.main import app
from tests.iresnets import random_iresnet, saved
from tests.onnx_files import small_network

ROOT = Path(__file__).resolve().parents[4]
LICENCE = "BSD\n\nOf no warranty."
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*arguments: str | Path, code: int = 0, text: str | None = None) -> Result:
        line = ["models", *(str(argument) for argument in arguments), "--data-dir", str(tmp_path / "data")]
        result = CliRunner().invoke(app, line, input=text)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return command


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(small_network())
    return path


def test_a_state_dict_is_imported_listed_verified_and_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "backbone.pth").write_bytes(saved(random_iresnet(18, 8).state_dict()))
    (tmp_path / "LICENCE").write_text(LICENCE)
    made = run(
        *("import", tmp_path / "backbone.pth", "--name", "theirs-r18", "--licence", tmp_path / "LICENCE"),
        *("--accept-licence", "--source", "https://example.org/backbone.pth", "--json"),
    )
    card = json.loads(made.stdout)
    assert card["architecture"].startswith("IResNet-18, width 8")
    assert card["evaluation"]["checks_at_import"]["cosine_torch_to_onnx"] >= 0.9999
    assert card["provenance"]["source"] == "https://example.org/backbone.pth"
    assert card["provenance"]["licence_text"] == LICENCE
    assert "not calibrated" in made.stderr
    assert "theirs-r18" in run("list").stdout
    assert json.loads(run("list", "--json").stdout)[-1] == card
    assert [m["name"] for m in json.loads(run("verify", "--json").stdout)["models"]][-1] == "theirs-r18"
    run("remove", "theirs-r18")
    assert "theirs-r18" not in run("list").stdout


def test_a_changed_file_of_the_site_is_noticed(run: Run, network: Path, tmp_path: Path) -> None:
    run("import", network, "--name", "mine", "--licence-text", LICENCE, "--accept-licence")
    file = tmp_path / "data" / "models" / "mine" / "mine.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert "not the one" in run("verify", code=1).stdout


@pytest.mark.parametrize("typed", ["", "\n", "no\n", "y\n", "YES\n"])
def test_only_a_typed_yes_accepts_a_licence(run: Run, network: Path, tmp_path: Path, typed: str) -> None:
    refused = run("import", network, "--name", "mine", "--licence-text", LICENCE, text=typed, code=1)
    assert LICENCE in refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_typed_yes_accepts_a_licence(run: Run, network: Path) -> None:
    assert "is imported" in run("import", network, "--name", "mine", "--licence-text", LICENCE, text="yes\n").stdout


def test_a_network_without_calibration_is_not_served(run: Run, network: Path, tmp_path: Path) -> None:
    run("import", network, "--name", "mine", "--licence-text", LICENCE, "--accept-licence")
    settings = Settings(data_dir=tmp_path / "data", embedder="mine")
    card, _ = find_card("embedder", "mine", site_folder(settings))
    storage = build_storage(settings)
    try:
        with pytest.raises(ModelUnusable):
            calibration_in_force(storage, card)
    finally:
        storage.engine.dispose()


def test_the_input_can_be_stated(run: Run, network: Path) -> None:
    stated = ("--mean", "123.675,116.28,103.53", "--std", "58", "--bgr")
    made = run("import", network, "--name", "mine", "--licence-text", LICENCE, "--accept-licence", *stated, "--json")
    card = json.loads(made.stdout)
    assert card["input"]["mean"] == [123.675, 116.28, 103.53]
    assert card["input"]["std"] == [58, 58, 58]
    assert "BGR" in card["architecture"]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--name", "mine"], 2, "--licence FILE or --licence-text"),
        (["--name", "mine", "--licence-text", "MIT", "--mean", "a"], 2, "--mean takes"),
        (["--name", "mine", "--licence-text", "MIT", "--std", "1,2"], 2, "--std takes"),
        (["--name", "mine", "--licence-text", "MIT", "--std", "0"], 3, "above 0"),
        (["--name", "../mine", "--licence-text", "MIT", "--accept-licence"], 2, "name has up to"),
        (["--name", "mobilefacenet512", "--licence-text", "MIT", "--accept-licence"], 1, "Dwarpal brings"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_line(
    run: Run, network: Path, options: list[str], code: int, told: str
) -> None:
    assert told in run("import", network, *options, code=code).stderr


def test_a_network_of_another_size_is_refused_with_the_reason(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(small_network(size=128, outputs=("n", 128)))
    options = ("--name", "mine", "--licence-text", "MIT", "--accept-licence")
    assert "n x 128" in run("import", tmp_path / "small.onnx", *options, code=3).stderr
    assert not (tmp_path / "data" / "models").exists()


def test_the_network_in_use_stays(run: Run, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("import", network, "--name", "mine", "--licence-text", LICENCE, "--accept-licence")
    monkeypatch.setenv("DWARPAL_EMBEDDER", "mine")
    assert "DWARPAL_EMBEDDER" in run("remove", "mine", code=1).stderr
    assert "no network" in run("remove", "mobilefacenet512", code=2).stderr


def test_our_own_list_has_nothing_that_we_could_not_check(run: Run) -> None:
    assert "--catalog" in run("pull", "anything", code=2).stderr


def test_the_service_neither_fetches_nor_converts() -> None:
    program = (
        "import sys, services.api.app, services.bootstrap, services.sweeper\n"
        "ours = {'infra.model_pull', 'infra.model_import', 'infra.onnx_review', 'onnx', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(ours)}' if ours else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
