"""Taking a network in: state dicts become ONNX that agrees, and what is stored is whole, private and uncalibrated."""

from __future__ import annotations

import hashlib
import pickle
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrics.card import ModelCard
from biometrics.embedding import unit_rows
from biometrics.errors import Conflict, DwarpalError, MalformedInput, ModelUnusable, NotFound, TooLarge
from infra.model_import import ImportRequest, import_network, load_iresnet, read_network_file, state_dict_to_onnx
from infra.model_store import remove_network, store_network
from infra.model_trial import as_input, embeddings, make_patterns
from infra.models import build_embedder, find_card, list_cards, names_in_site, site_folder, verify_all
from infra.onnx_review import MAX_NETWORK_BYTES, InputDeclaration
from infra.runtime import load_network
from infra.settings import ExecutionProvider, Settings
from tests.iresnets import random_iresnet, saved
from tests.onnx_files import small_network

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ARCFACE = InputDeclaration()
WIDTH = 8
State = dict[str, torch.Tensor]


def request(name: str = "mine", licence: str = "MIT\n\nDo as you like.") -> ImportRequest:
    return ImportRequest(name, "weights.pt", licence, ARCFACE)


@pytest.fixture(scope="module")
def state() -> State:
    return dict(random_iresnet(18, WIDTH).state_dict())


@pytest.mark.parametrize("depth", [18, 34, 50, 100])
def test_onnx_agrees_with_pytorch(depth: int) -> None:
    network = random_iresnet(depth, WIDTH)
    converted = state_dict_to_onnx(saved(network.state_dict()))
    assert converted.architecture == f"IResNet-{depth}, width {WIDTH}"
    batch = as_input(make_patterns(), ARCFACE)
    ours = embeddings(load_network(converted.onnx, provider=ExecutionProvider.CPU, threads=1), batch)
    with torch.inference_mode():
        theirs = network(torch.from_numpy(batch)).numpy()
    cosines = np.sum(unit_rows(ours) * unit_rows(theirs), axis=1)
    assert float(cosines.min()) >= 0.9999
    assert converted.parity == pytest.approx(float(cosines.min()), abs=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 20},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_state_dicts_come_in_several_wrappings(wrap: Callable[[State], object], state: State) -> None:
    loaded = load_iresnet(saved(wrap(state))).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items() if "tracked" not in name)


def test_half_precision_is_widened(state: State) -> None:
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    assert load_iresnet(saved(halves)).fc.weight.dtype is torch.float32


class Evil:
    """Runs code when it is unpickled by anybody who trusts it."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("/tmp/dwarpal-evil"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "layer2.1.bn3.bias"}, r"layer2\.1\.bn3\.bias is missing"),
        (lambda s: s | {"layer1.0.conv1.weight": torch.zeros(8, 8, 5, 5)}, r"layer1\.0\.conv1\.weight"),
        (lambda s: s | {"classifier.weight": torch.zeros(2, 2)}, "does not: classifier"),
        (lambda s: s | {"fc.bias": torch.full((512,), float("nan"))}, r"fc\.bias holds numbers"),
        (lambda s: s | {"conv1.weight": torch.zeros(10**6, 1, 1, 1)}, "is missing or not"),
        (lambda s: {"backbone": s}, "more than named parameters"),
        (lambda s: [1, 2], "no state dict"),
        (lambda s: {}, "no state dict"),
        (lambda s: s | {"module.fc.bias": torch.zeros(512)}, "twice"),
        (lambda s: {"conv1.weight": torch.zeros(2, 2)}, "not that of an IResNet"),
        (lambda s: dict(random_iresnet(18, WIDTH, embedding_size=128).state_dict()), "returns 128 numbers"),
    ],
)
def test_state_dicts_that_do_not_fit_are_refused(spoil: Callable[[State], object], reason: str, state: State) -> None:
    with pytest.raises(ModelUnusable, match=reason):
        load_iresnet(saved(spoil(state)))


def test_no_code_from_a_file_is_run(tmp_path: Path) -> None:
    for content in (saved({"conv1.weight": Evil()}), pickle.dumps(Evil())):
        with pytest.raises(ModelUnusable, match="without running code"):
            load_iresnet(content)
    assert not Path("/tmp/dwarpal-evil").exists()


@given(st.binary(max_size=200), st.sampled_from([b"PK\x03\x04", b"\x80\x02", b""]))
@settings(max_examples=40)
def test_any_other_file_is_refused(tail: bytes, head: bytes) -> None:
    with pytest.raises(DwarpalError):
        import_network(head + tail, request(), site=Path("/nonexistent"), now=NOW)


@pytest.mark.parametrize("kind", ["state dict", "onnx"])
def test_an_import_is_whole_private_and_uncalibrated(kind: str, state: State, tmp_path: Path) -> None:
    content = saved(state) if kind == "state dict" else small_network(inputs=(1, 3, 112, 112), outputs=(1, 512))
    own = Settings(data_dir=tmp_path, embedder="mine", execution_provider=ExecutionProvider.CPU)
    site = site_folder(own)
    imported = import_network(content, request(), site=site, now=NOW)
    card, folder = find_card("embedder", "mine", site)
    assert card == imported.card
    assert card.operating_points == ()
    assert "Not calibrated" in card.limits[0]
    assert card.licence == "MIT"
    assert card.provenance is not None
    assert card.provenance.source_sha256 == hashlib.sha256(content).hexdigest()
    assert card.provenance.licence_text == "MIT\n\nDo as you like."
    assert card.provenance.accepted_at == NOW
    assert hashlib.sha256((folder / card.file).read_bytes()).hexdigest() == card.sha256
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (site, folder, *folder.iterdir())}
    assert modes == {"models": 0o700, "mine": 0o700, "mine.onnx": 0o600, "mine.json": 0o600}
    assert [path.name for path in site.iterdir()] == ["mine"]
    assert (card, "") in verify_all(site)
    assert (card, folder) in list_cards(site)
    face = np.random.default_rng(1).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    assert np.linalg.norm(build_embedder(own).embed(face).vector) == pytest.approx(1, abs=1e-5)


def test_importing_twice_gives_the_same_digest(state: State, tmp_path: Path) -> None:
    cards = [import_network(saved(state), request(name), site=tmp_path, now=NOW).card for name in ("a", "b")]
    assert cards[0].sha256 == cards[1].sha256


@pytest.mark.parametrize("name", ["", "..", "A", "a/b", "../a", ".hidden", "a" * 65, "é"])
def test_impossible_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedInput):
        import_network(small_network(), request(name), site=tmp_path, now=NOW)
    assert not list(tmp_path.iterdir())


def test_a_name_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="Dwarpal brings"):
        import_network(small_network(), request("mobilefacenet512"), site=tmp_path, now=NOW)
    import_network(small_network(), request(), site=tmp_path, now=NOW)
    with pytest.raises(Conflict, match="remove it first"):
        import_network(small_network(), request(), site=tmp_path, now=NOW)


def test_a_name_that_stands_in_both_places_is_refused_when_looked_up(tmp_path: Path) -> None:
    packaged, _ = find_card("embedder", "mobilefacenet512")
    folder = tmp_path / packaged.name
    folder.mkdir()
    (folder / f"{packaged.name}.json").write_text(packaged.model_dump_json())
    with pytest.raises(ModelUnusable, match="Two networks"):
        find_card("embedder", packaged.name, tmp_path)


def test_an_import_that_fails_leaves_nothing(state: State, tmp_path: Path) -> None:
    flat = {name: torch.zeros_like(tensor) if name.startswith("conv1") else tensor for name, tensor in state.items()}
    with pytest.raises(ModelUnusable, match="nearly one answer"):
        import_network(saved(flat), request(), site=tmp_path / "models", now=NOW)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("licence", ["", " \n", "x" * (2**18 + 1)])
def test_a_network_needs_its_licence(licence: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedInput, match="licence"):
        import_network(small_network(), request(licence=licence), site=tmp_path, now=NOW)


def test_a_card_of_another_network_is_not_stored(tmp_path: Path) -> None:
    card = import_network(small_network(), request(), site=tmp_path / "one", now=NOW).card
    with pytest.raises(ValueError, match="another network"):
        store_network(tmp_path / "two", card, b"something else")


def test_removing(tmp_path: Path) -> None:
    import_network(small_network(), request(), site=tmp_path, now=NOW)
    with pytest.raises(Conflict, match="DWARPAL_EMBEDDER"):
        remove_network(tmp_path, "mine", in_use="mine")
    for unknown in ("mobilefacenet512", "..", "other"):
        with pytest.raises(NotFound):
            remove_network(tmp_path, unknown, in_use="another")
    (tmp_path / "mine" / "mine.json").write_text("damaged")
    remove_network(tmp_path, "mine", in_use="another")
    assert list(tmp_path.iterdir()) == []
    assert names_in_site(tmp_path) == []


def test_a_card_may_be_named_by_its_path_in_evaluation_only(tmp_path: Path) -> None:
    import_network(small_network(), request(), site=tmp_path / "models", now=NOW)
    path = str(tmp_path / "models" / "mine" / "mine.json")
    with pytest.raises(ModelUnusable):
        build_embedder(Settings(embedder=path))
    settings = Settings(embedder=path, execution_provider=ExecutionProvider.CPU)
    assert build_embedder(settings, by_path=True).card.name == "mine"


def test_a_card_may_not_point_out_of_its_folder(tmp_path: Path) -> None:
    card = import_network(small_network(), request(), site=tmp_path, now=NOW).card
    forged = ModelCard.model_validate(card.model_dump() | {"file": "../../other.onnx"})
    (tmp_path / "mine" / "mine.json").write_text(forged.model_dump_json())
    with pytest.raises(ModelUnusable):
        find_card("embedder", "mine", tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(MAX_NETWORK_BYTES + 1)
    with pytest.raises(TooLarge):
        read_network_file(tmp_path / "large.onnx")
