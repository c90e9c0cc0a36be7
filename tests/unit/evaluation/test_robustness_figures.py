import json

import cv2
import numpy as np
import pytest

from biometrics.errors import MalformedInput, UnusableFace
from biometrics.types import Box, Face
from evaluation.degradations import CONDITIONS, Condition, chosen_conditions, degrading, motion_kernel
from evaluation.protocol import Pair
from evaluation.rates import Support
from evaluation.report import as_json
from evaluation.robustness import measure_robustness
from tests.fakes import FakeFaceDetector, FakeFaceEmbedder

LANDMARKS = np.array([[60, 75], [100, 75], [80, 98], [64, 122], [96, 122]], np.float32)
FACE = Face(Box(40, 40, 80, 100), 0.99, LANDMARKS)


class Darkness:
    """A `FaceDetector` that finds the face wherever there is light."""

    def detect(self, image):
        return [FACE] if image.mean() > 20 else []


def photograph(person, number):
    """Return a picture of colored fields that belong to a person, with some of its own."""
    fields = np.random.default_rng(person).integers(30, 225, (8, 8, 3))
    fields = fields + np.random.default_rng([person, number]).integers(-25, 25, (8, 8, 3))
    return cv2.resize(np.clip(fields, 0, 255).astype(np.uint8), (160, 160), interpolation=cv2.INTER_NEAREST)


def load(name):
    person, number = name.rsplit("_", 1)
    return photograph(int(person[1:]), int(number))


def named(people):
    mated = [Pair(f"p{p}_1", f"p{p}_2", True) for p in range(people)]
    return mated + [Pair(f"p{p}_1", f"p{(p + k) % people}_2", False) for p in range(people) for k in (1, 2, 3)]


def half_mixed(image, _face, rng):
    other = cv2.resize(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8), image.shape[1::-1])
    return np.clip(0.12 * image + 0.88 * other, 0, 255).astype(np.uint8)


def black(image, _face, _rng):
    return np.zeros_like(image)


def unchanged(image, _face, _rng):
    return image


def measure(*conditions, people=40, **given):
    parts = {"detector": FakeFaceDetector(FACE), "embedder": FakeFaceEmbedder()} | given
    return measure_robustness(named(people), load, conditions, **parts)


def test_a_condition_that_changes_nothing_costs_nothing():
    seen = []
    report = measure(Condition("none/at-all", "", unchanged), progress=lambda done, total: seen.append((done, total)))
    clean, same = report.conditions
    assert (clean.condition, same.condition, same.family) == ("clean", "none/at-all", "none")
    assert (same.tar, same.threshold, same.threshold_cross) == (clean.tar, clean.threshold, clean.threshold_cross)
    assert same.loss == same.loss_cross == 0
    assert same.ci95.loss == (0, 0)
    assert (report.n_mated, report.n_non_mated, report.n_cross) == (40, 120, 40 * 39)
    assert report.support == Support.UNSUPPORTED
    assert seen == [(n + 1, 120) for n in range(120)]  # 80 clean photographs, 40 degraded ones


def test_a_worse_condition_loses_and_its_interval_is_of_the_difference():
    report = measure(Condition("noise/mixed", "", half_mixed))
    clean, worse = report.conditions
    assert worse.loss == pytest.approx(clean.tar - worse.tar)
    assert worse.loss_cross == pytest.approx(clean.tar_cross - worse.tar_cross)
    assert worse.loss_cross > 0
    assert worse.ci95.loss_cross.low <= worse.loss_cross <= worse.ci95.loss_cross.high
    assert worse.tar_at_clean_threshold <= 1
    assert json.dumps(as_json(report), allow_nan=False)


def test_faces_that_are_no_longer_found_are_rejected():
    lost = measure(Condition("light/out", "", black), detector=Darkness()).conditions[1]
    assert (lost.fta, lost.tar, lost.loss) == (1.0, 0.0, pytest.approx(1.0))
    assert lost.far_at_clean_threshold == 0


def test_the_first_photograph_of_a_pair_stays_clean():
    touched = []

    def remembered(image, _face, _rng):
        touched.append(image.tobytes())
        return image

    measure(Condition("none/at-all", "", remembered), people=5)
    assert sorted(touched) == sorted(load(f"p{p}_2").tobytes() for p in range(5))


def test_the_same_seed_degrades_alike_whatever_else_is_measured():
    noise = Condition("noise/mixed", "", half_mixed)
    alone = measure(noise, seed=7)
    beside = measure(Condition("none/at-all", "", unchanged), noise, seed=7)
    assert alone.conditions[1] == beside.conditions[2]
    assert measure(noise, seed=8).conditions[1] != alone.conditions[1]


def test_a_photograph_without_a_face_cannot_be_degraded():
    with pytest.raises(UnusableFace):
        degrading(load, {}, Condition("none/at-all", "", unchanged), 1)("p1_1")


def test_conditions_are_chosen_by_name_or_family():
    assert chosen_conditions([]) == CONDITIONS
    assert [c.name for c in chosen_conditions(["jpeg/q20", "light"])][-1] == "jpeg/q20"
    assert len(chosen_conditions(["light"])) == 4
    assert len({c.name for c in CONDITIONS}) == len(CONDITIONS)
    with pytest.raises(MalformedInput, match="fog"):
        chosen_conditions(["fog"])


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_every_condition_changes_a_photograph_and_can_be_repeated(condition, astronaut):
    image = np.ascontiguousarray(astronaut[:200, 130:310])
    face = Face(
        Box(50, 50, 90, 115), 0.99, np.array([[76, 96], [116, 96], [98, 120], [80, 140], [112, 140]], np.float32)
    )
    before = image.copy()
    once, again, other = (condition.degrade(image, face, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(image, before)
    assert np.array_equal(once, again)
    assert once.dtype == np.uint8
    assert once.shape[2] == other.shape[2] == 3
    assert once.shape != image.shape or not np.array_equal(once, image)


def test_resolution_sets_the_height_of_the_face_and_never_enlarges(astronaut):
    (forty,) = chosen_conditions(["resolution/40px"])
    smaller = forty.degrade(astronaut, FACE, np.random.default_rng(1))
    assert smaller.shape[0] == pytest.approx(astronaut.shape[0] * 40 / 100, abs=1)
    far = Face(Box(0, 0, 30, 35), 0.99, LANDMARKS)
    assert forty.degrade(astronaut, far, np.random.default_rng(1)) is astronaut


@pytest.mark.parametrize("length", [1, 2.5, 5, 9, 30.2])
@pytest.mark.parametrize("radians", [0, 0.7, np.pi / 2])
def test_a_motion_kernel_is_as_long_as_it_says(length, radians):
    kernel = motion_kernel(length, radians)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    middle = len(kernel) // 2
    y, x = np.mgrid[: len(kernel), : len(kernel)] - middle
    along = x * np.cos(radians) + y * np.sin(radians)
    reach = max(0, (length - 1) / 2)
    assert (kernel * along).sum() == pytest.approx(0, abs=1e-5)
    # A uniform path of half-length r has a variance of r^2 / 3, and sampling on pixels adds at most a quarter.
    assert reach**2 / 3 - 1e-6 <= (kernel * along**2).sum() <= reach**2 / 3 * 1.2 + 0.26


def test_darker_light_keeps_less_of_it(astronaut):
    dark = [c.degrade(astronaut, FACE, np.random.default_rng(1)).mean() for c in chosen_conditions(["light"])]
    assert [astronaut.mean(), *dark] == sorted([astronaut.mean(), *dark], reverse=True)


def test_a_mask_covers_the_mouth_and_not_the_eyes(astronaut):
    image = np.full_like(astronaut, 100)
    (mask,) = chosen_conditions(["occlusion/mask"])
    masked = mask.degrade(image, FACE, np.random.default_rng(1))
    for x, y in LANDMARKS[:2].astype(int):
        assert np.array_equal(masked[y, x], image[y, x])
    for x, y in LANDMARKS[3:].astype(int):
        assert not np.array_equal(masked[y, x], image[y, x])
