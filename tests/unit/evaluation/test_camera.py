from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from biometrics.types import Pixels
from evaluation.attacks import print_attack, print_attack_placed, replay_attack, replay_attack_placed
from evaluation.camera import (
    PRESETS,
    CameraSettings,
    jpeg_roundtrip,
    photograph,
    photograph_jpeg,
    photograph_placed,
)

PERFECT = CameraSettings(blur=0.0, shot_noise=0.0, read_noise=0.0, jpeg_quality=95)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def luma_error(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.mean(axis=2) - b.mean(axis=2)).mean())


def detail(image: Pixels) -> float:
    return float(np.abs(np.diff(image.astype(np.float64), axis=1)).mean())


def test_a_perfect_camera_changes_nothing_but_what_jpeg_loses(astronaut: Pixels) -> None:
    assert luma_error(photograph(astronaut, PERFECT, rng()), astronaut) < 1.5


@pytest.mark.parametrize("gate", PRESETS)
def test_a_gate_sees_the_same_scene_the_same_way_from_the_same_seed(astronaut: Pixels, gate: str) -> None:
    first, again = (photograph(astronaut, PRESETS[gate], rng()) for _ in range(2))
    other = photograph(astronaut, PRESETS[gate], np.random.default_rng(4))
    assert first.shape == astronaut.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert luma_error(first, astronaut) > 5  # it is another picture


def test_the_file_holds_what_the_camera_saw(astronaut: Pixels) -> None:
    content = photograph_jpeg(astronaut, PRESETS["entry"], rng())
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        assert not picture.getexif()
        assert np.array_equal(np.array(picture.convert("RGB")), photograph(astronaut, PRESETS["entry"], rng()))


def test_light_blur_and_noise_do_what_they_say(astronaut: Pixels) -> None:
    plain = photograph(astronaut, PERFECT, rng())
    assert photograph(astronaut, replace(PERFECT, gain=0.7), rng()).mean() < plain.mean() * 0.8
    assert detail(photograph(astronaut, replace(PERFECT, blur=2.0), rng())) < detail(plain) * 0.7
    assert detail(photograph(astronaut, replace(PERFECT, shot_noise=0.05), rng())) > detail(plain) * 1.2
    sloped = photograph(astronaut, replace(PERFECT, slope=0.5), rng()).astype(int) - plain
    assert sloped[:, :100].mean() < -10
    assert sloped[:, -100:].mean() > 5


def test_points_go_where_the_matrix_says() -> None:
    scene = np.zeros((200, 200, 3), np.uint8)
    scene[60:65, 140:145] = 255
    seen = photograph_placed(scene, replace(PERFECT, zoom=1.1, turn=7.0, yaw=8.0), rng())
    moved = seen.matrix @ (142.0, 62.0, 1.0)
    found = np.argwhere(seen.pixels[..., 0] > 128).mean(axis=0)
    assert np.abs(found[::-1] - moved[:2] / moved[2]).max() < 1.0


@pytest.mark.parametrize("attack", [print_attack, replay_attack])
def test_an_attack_fills_most_of_the_scene_and_repeats(astronaut: Pixels, attack: type) -> None:
    scene = attack(astronaut, rng())
    assert scene.shape == (640, 640, 3)
    assert scene.dtype == np.uint8
    assert np.array_equal(scene, attack(astronaut, rng()))
    assert attack(astronaut, rng(), pixels=300).shape == (300, 300, 3)


@pytest.mark.parametrize("attack", [print_attack_placed, replay_attack_placed])
def test_an_attack_holds_the_portrait_up_whole(astronaut: Pixels, attack: type) -> None:
    for seed in range(5):
        placed = attack(astronaut, np.random.default_rng(seed))
        corners = placed.matrix @ np.array([[0, 512, 512, 0], [0, 0, 512, 512], [1, 1, 1, 1]], float)
        inside = corners[:2] / corners[2]
        assert inside.min() > -80
        assert inside.max() < 720


def test_a_print_fades_black_and_color(astronaut: Pixels) -> None:
    placed = print_attack_placed(astronaut, rng())
    middle = placed.pixels[200:440, 200:440]
    assert np.percentile(middle.min(axis=2), 1) > np.percentile(astronaut[150:350, 150:350].min(axis=2), 1) + 8


def test_jpeg_loses_more_at_lower_quality(astronaut: Pixels) -> None:
    assert luma_error(jpeg_roundtrip(astronaut, 30), astronaut) > luma_error(jpeg_roundtrip(astronaut, 90), astronaut)
