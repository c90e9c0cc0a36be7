"""The laptop configuration on a handful of faces: it learns, resumes exactly, exports, and agrees with ONNX."""

from __future__ import annotations

import csv
import zipfile
from copy import deepcopy
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
import torch
from matplotlib import cbook
from onnx.reference import ReferenceEvaluator
from PIL import Image

from biometrics.card import ModelCard
from training.export_embedder import RATES, UnitLength, blended, export, load_run, operating_points
from training.face_augment import Strengths, changed
from training.face_data import FaceData, load_faces, normalized, people_near, teacher_embeddings
from training.mobilefacenet import IMAGENET_MEAN, IMAGENET_STD, MobileFaceNet, widened
from training.train_embedder import PRESETS, TrainingConfig, learning_rate_at, train

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
TINY = {"batch": 12, "threads": 1, "warmup": 2, "margin_warmup": 0, "workers": 0, "compile": False}


@pytest.fixture(scope="module")
def teacher() -> MobileFaceNet:
    torch.manual_seed(4)
    return MobileFaceNet(128).eval()


@pytest.fixture(scope="module")
def faces(teacher: MobileFaceNet) -> FaceData:
    """Two people from their public portraits, changed, and two unlabelled faces.

    The teacher's weights are random; its last bias is moved so that it tells the faces apart.
    """
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as opened:
        hopper = np.asarray(opened.convert("RGB"))
    portraits = [skimage.data.astronaut()[20:210, 130:320], hopper[30:330, 120:420]]
    small = [cv2.resize(portrait, (112, 112), interpolation=cv2.INTER_AREA) for portrait in portraits]
    rng = np.random.default_rng(0)
    pixels = np.stack([changed(small[number % 2], rng, Strengths()) for number in range(12)])
    with torch.no_grad():
        teacher.embed.bias -= teacher(normalized(torch.from_numpy(pixels), IMAGENET_MEAN, IMAGENET_STD)).mean(dim=0)
    known = teacher_embeddings(teacher, pixels)
    subject = np.array([*(number % 2 for number in range(10)), 2, 3])
    return FaceData(pixels, subject, subject < 2, np.where(subject < 2, -1, 0), ("group",), known)


def losses(run: Path) -> list[str]:
    with (run / "log.csv").open(newline="") as stream:
        return [line["loss"] for line in csv.DictReader(stream)]


def test_a_blend_lies_between_the_teacher_and_what_was_trained(teacher: MobileFaceNet) -> None:
    config = TrainingConfig(seed=3)
    torch.manual_seed(8)
    trained = MobileFaceNet(512)
    first, _ = widened(teacher, 512, torch.Generator().manual_seed(3))
    wanted = 0.7 * trained.embed.weight + 0.3 * first.embed.weight
    assert torch.allclose(blended(deepcopy(trained), config, teacher, 0.7).embed.weight, wanted, atol=1e-6)
    assert torch.equal(blended(deepcopy(trained), config, teacher, 1.0).embed.weight, trained.embed.weight)
    with pytest.raises(ValueError, match="teacher"):
        blended(trained, replace(config, depth=18), teacher, 0.5)


def test_the_laptop_configuration_learns_resumes_and_exports(
    faces: FaceData, teacher: MobileFaceNet, tmp_path: Path
) -> None:
    config = replace(PRESETS["laptop"], **TINY, steps=32, report_every=8, learning_rate=5e-4, mixes=0.2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(faces, teacher, config, whole, resume=False)
    train(faces, teacher, config, parts, resume=False, until=16)
    train(faces, teacher, config, parts, resume=True)
    assert losses(parts) == losses(whole)
    assert len(losses(whole)) == 4
    assert float(losses(whole)[-1]) < float(losses(whole)[0])
    ours, theirs = (torch.load(run / "checkpoint.pt", weights_only=True) for run in (whole, parts))
    assert all(torch.equal(value, theirs["average"][name]) for name, value in ours["average"].items())

    card = export(whole, "tiny", tmp_path / "weights", [], speed={"runs": 1}, history="one run")
    assert ModelCard.load(tmp_path / "weights" / "tiny.json") == card
    assert card.operating_points == ()
    assert card.parameters == 9_223_168
    assert card.evaluation == {"file_bytes": (tmp_path / "weights" / "tiny.onnx").stat().st_size, "speed": {"runs": 1}}
    assert card.training["history"] == "one run"
    network, _, step = load_run(whole)
    assert step == 32
    batch = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    content = card.verified_bytes(tmp_path / "weights")
    (answer,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"face": batch.numpy()})
    with torch.inference_mode():
        expected = UnitLength(network)(batch).numpy()
    assert (np.asarray(answer) * expected).sum(axis=1).min() >= 0.9999


def test_continuing_from_the_teacher_begins_at_the_teacher(
    faces: FaceData, teacher: MobileFaceNet, tmp_path: Path
) -> None:
    config = replace(
        PRESETS["shipped"], **TINY, steps=1, learning_rate=0.0, pull=0.0, push={"group": 0.1}, bfloat16=False
    )
    config = replace(config, strengths=Strengths(*([0.0] * 10)), arcface_weight=0.0)
    train(faces, teacher, config, tmp_path, resume=False)
    with (tmp_path / "log.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    # What is known of a face is the mean over its mirror image: near to what the network says, not equal.
    assert float(line["embedding"]) < 0.5 * config.embedding_weight


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    config = TrainingConfig(steps=100, warmup=10)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] < 0.001
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_a_configuration_survives_its_checkpoint() -> None:
    for config in PRESETS.values():
        assert TrainingConfig.from_checkpoint(asdict(config)) == config


def test_people_near_an_evaluation_face_are_found() -> None:
    faces = np.eye(4, dtype=np.float32)
    others = np.array([[0.0, 0.9, np.sqrt(1 - 0.81), 0.0]], np.float32)
    assert people_near(faces, np.array([7, 8, 9, 9]), others).tolist() == [8]


def test_operating_points_take_the_larger_threshold_rounded_up() -> None:
    def figures(shift: float) -> dict[str, object]:
        return {
            "cross": {
                "points": [{"rate": rate, "threshold": 0.3 + number / 10 + shift} for number, rate in enumerate(RATES)]
            }
        }

    points = operating_points([figures(0.00001), figures(0.00012)])
    assert [point.rate for point in points] == list(RATES)
    assert [point.threshold for point in points] == pytest.approx([0.3002, 0.4002, 0.5002, 0.6002])
    assert operating_points([]) == ()


def test_the_archives_are_read_as_their_readme_says(tmp_path: Path) -> None:
    """A few members of each archive, copied into small archives outside the project."""
    if not (DATA / "faces-train.zip").exists():
        pytest.skip("the research images are not beside this project")
    small = tmp_path / "data"
    (small / "teacher").mkdir(parents=True)
    (small / "teacher" / "mobilefacenet.onnx").write_bytes((DATA / "teacher" / "mobilefacenet.onnx").read_bytes())
    for name, count in (("faces-train", 12), ("faces-unlabelled", 5)):
        with zipfile.ZipFile(DATA / f"{name}.zip") as source, zipfile.ZipFile(small / f"{name}.zip", "w") as target:
            lines = source.read("index.csv").decode().splitlines()[: count + 1]
            target.writestr("index.csv", "\n".join(lines) + "\n")
            for line in lines[1:]:
                target.writestr(line.split(",")[0], source.read(line.split(",")[0]))
    with zipfile.ZipFile(DATA / "lfw-dev.zip") as source, zipfile.ZipFile(small / "lfw-dev.zip", "w") as target:
        for name in [name for name in source.namelist() if name.startswith("images/") and "." in name][:3]:
            target.writestr(name, source.read(name))
    loaded = load_faces(small, tmp_path / "cache")
    assert loaded.pixels.shape[1:] == (112, 112, 3)
    assert len(loaded.pixels) == len(loaded.subject) == len(loaded.teacher) <= 17
    assert (~loaded.labelled).sum() >= 4
    assert set(np.unique(loaded.subject)) == set(range(loaded.n_subjects))
    np.testing.assert_allclose(np.linalg.norm(loaded.teacher, axis=1), 1, atol=1e-5)
