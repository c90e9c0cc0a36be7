"""Named ways in which a photograph gets worse on its way to the gate, each at several strengths.

A condition changes the whole photograph, before our detector sees it. Where a strength is in pixels of the face, the
face that was found in the clean photograph says how large that is. What a camera does (noise, JPEG, turning the view)
is done by `evaluation.camera`. These are simulations: they rank weaknesses, and replace no photographs from a gate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from biometrics.alignment import ARCFACE_TEMPLATE, umeyama
from biometrics.errors import MalformedInput, UnusableFace
from biometrics.types import Face, FloatArray, Pixels
from evaluation.acquisition import LoadImage
from evaluation.camera import GAMMA, CameraSettings, jpeg_roundtrip, photograph
from evaluation.occlusions import OCCLUSIONS, occlude

Degrade = Callable[[Pixels, Face, np.random.Generator], Pixels]
"""Takes a photograph, the face found in it, and a random generator; returns the worse photograph."""

SHARP = CameraSettings(blur=0.0, jpeg_quality=95)
"""The default camera's noise, a perfect lens, hardly any JPEG."""

PATH_STEPS = 8
"""Samples of a motion's path for each pixel of its length."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One way of getting worse, at one strength; `name` is `family/strength`."""

    name: str
    description: str
    degrade: Degrade

    @property
    def family(self) -> str:
        """What gets worse: the part of the name before the slash."""
        return self.name.split("/")[0]


def chosen_conditions(names: Sequence[str]) -> tuple[Condition, ...]:
    """Return the conditions of these names or families in the order of `CONDITIONS`, all of them without names.

    Raises `MalformedInput` on an unknown name.
    """
    known = {condition.name for condition in CONDITIONS} | {condition.family for condition in CONDITIONS}
    if unknown := sorted(set(names) - known):
        raise MalformedInput(f"There is no condition {', '.join(unknown)}. There are: {', '.join(sorted(known))}.")
    return tuple(c for c in CONDITIONS if not names or c.name in names or c.family in names)


def degrading(load: LoadImage, faces: Mapping[str, Face], condition: Condition, seed: int) -> LoadImage:
    """Return what loads a photograph and makes it worse; `faces` are those found in the clean photographs.

    A photograph without one raises `UnusableFace`. The same seed makes the same photograph, whatever the others are.
    """

    def loaded(name: str) -> Pixels:
        image = load(name)
        if name not in faces:
            raise UnusableFace("No face was found in the clean photograph.")
        return condition.degrade(image, faces[name], _generator(seed, condition.name, name))

    return loaded


def _generator(seed: int, condition: str, image: str) -> np.random.Generator:
    """Return the random numbers of one photograph under one condition, independent of all others."""
    digest = hashlib.sha256(f"{seed}\n{condition}\n{image}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _darker(image: Pixels, _face: Face, rng: np.random.Generator, *, gamma: float) -> Pixels:
    """Raise pixel values (0-1) to a power, and photograph that with the default camera's shot and read noise."""
    dark = np.rint(255.0 * (image / 255.0) ** gamma).astype(np.uint8)
    return photograph(dark, SHARP, rng)


def _smaller(image: Pixels, face: Face, _rng: np.random.Generator, *, face_pixels: int) -> Pixels:
    """Shrink the photograph by area until the face box is so many pixels high; one that is smaller stays as it is."""
    scale = face_pixels / face.box.height
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _moved(image: Pixels, face: Face, rng: np.random.Generator, *, crop_pixels: float) -> Pixels:
    """Blur along a straight path of random direction, as long as `crop_pixels` are in the aligned 112 x 112 face."""
    to_crop = umeyama(face.landmarks, ARCFACE_TEMPLATE)
    length = crop_pixels / max(1e-6, math.hypot(to_crop[0, 0], to_crop[1, 0]))
    kernel = motion_kernel(min(length, max(image.shape[:2])), rng.uniform(0, math.pi))
    blurred = cv2.filter2D(_light(image), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return _from_light(np.asarray(blurred, np.float32))


def motion_kernel(length: float, radians: float) -> FloatArray:
    """Return the k x k kernel of a straight motion: `length` pixels of equal weight, sum 1; k is odd."""
    reach = max(0.0, (length - 1) / 2)
    steps = np.linspace(-reach, reach, max(1, PATH_STEPS * math.ceil(length)))
    half = math.ceil(reach) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float64)
    x, y = half + steps * math.cos(radians), half + steps * math.sin(radians)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            np.add.at(kernel, (row, column), across * down)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _compressed(image: Pixels, _face: Face, _rng: np.random.Generator, *, quality: int) -> Pixels:
    return jpeg_roundtrip(image, quality)


def _hidden(image: Pixels, face: Face, rng: np.random.Generator, *, what: str) -> Pixels:
    return occlude(image, face.landmarks, OCCLUSIONS[what], rng)


def _turned(image: Pixels, _face: Face, rng: np.random.Generator, *, roll: float = 0.0, yaw: float = 0.0) -> Pixels:
    """Turn the picture in its plane, or, as a flat sheet, about its vertical axis; to either side."""
    side = rng.choice((-1.0, 1.0))
    settings = replace(SHARP, turn=side * roll, yaw=side * yaw, shot_noise=0.0, read_noise=0.0)
    return photograph(image, settings, rng)


def _vignetted(light: FloatArray, _rng: np.random.Generator, strength: float) -> FloatArray:
    """Darken toward the corners, where 1 - `strength` of the light is left (a square law of the distance)."""
    height, width = light.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.asarray(light * (1 - strength * (x**2 + y**2) / 2)[..., None], np.float32)


def _hot_pixels(light: FloatArray, rng: np.random.Generator, share: float) -> FloatArray:
    """Let a share of the sensor's cells, one color each, be full, whatever the light."""
    return np.where(rng.random(light.shape) < share, np.float32(1.0), light)


def _color_shifted(light: FloatArray, rng: np.random.Generator, strength: float) -> FloatArray:
    """Weigh red against blue by 1 + `strength`, to either side: a white balance that has drifted."""
    side = float(rng.choice((-1.0, 1.0)))
    gains = np.array([(1 + strength) ** side, 1.0, (1 + strength) ** -side], np.float32)
    return light * gains


def _hazed(light: FloatArray, _rng: np.random.Generator, share: float) -> FloatArray:
    """Spread a share of the light over the whole picture, as a dirty or scratched lens does (veiling glare)."""
    return np.asarray((1 - share) * light + share * light.mean(axis=(0, 1)), np.float32)


Aging = Callable[[FloatArray, np.random.Generator, float], FloatArray]


def _aged(image: Pixels, _face: Face, rng: np.random.Generator, *, effects: Sequence[tuple[Aging, float]]) -> Pixels:
    """Apply effects to the light one after the other, then the camera's own (default) noise."""
    light = _light(image)
    for effect, strength in effects:
        light = effect(light, rng, strength)
    return photograph(_from_light(light), SHARP, rng)


def _light(image: Pixels) -> FloatArray:
    return np.asarray((image.astype(np.float32) / 255.0) ** GAMMA, np.float32)


def _from_light(light: FloatArray) -> Pixels:
    return np.asarray(np.rint(255.0 * np.clip(light, 0, 1) ** (1 / GAMMA)), np.uint8)


def _aging_conditions() -> list[Condition]:
    """Return the effects alone and together, each mild and strong."""
    effects: dict[str, tuple[Aging, tuple[float, float], str]] = {
        "vignette": (_vignetted, (0.5, 0.8), "corners lose {:.0%} of the light"),
        "hot-pixels": (_hot_pixels, (0.002, 0.01), "{:.1%} of the sensor's cells are stuck at full"),
        "color-shift": (_color_shifted, (0.3, 0.6), "red against blue weighed by 1 + {:.1f}, either way"),
        "haze": (_hazed, (0.25, 0.5), "{:.0%} of the light is spread over the picture"),
    }
    conditions = [
        Condition(f"camera/{name}-{grade}", text.format(strengths[at]), partial(_aged, effects=((age, strengths[at]),)))
        for name, (age, strengths, text) in effects.items()
        for at, grade in enumerate(("mild", "strong"))
    ]
    for at, grade in enumerate(("mild", "strong")):
        together = tuple((age, strengths[at]) for age, strengths, _ in effects.values())
        conditions.append(Condition(f"camera/aged-{grade}", f"all four, {grade}", partial(_aged, effects=together)))
    return conditions


CONDITIONS: tuple[Condition, ...] = (
    *(
        Condition(f"light/gamma-{g:g}", f"values (0-1) to the power {g:g}, sensor noise", partial(_darker, gamma=g))
        for g in (1.5, 2.0, 3.0, 4.0)
    ),
    *(
        Condition(f"resolution/{n}px", f"face box {n} pixels high", partial(_smaller, face_pixels=n))
        for n in (80, 60, 40, 30, 24)
    ),
    *(
        Condition(f"blur/motion-{n}px", f"path of {n} pixels of the aligned face", partial(_moved, crop_pixels=n))
        for n in (3, 5, 7, 9)
    ),
    *(Condition(f"jpeg/q{q}", f"JPEG of quality {q}", partial(_compressed, quality=q)) for q in (50, 30, 20, 10)),
    *(
        Condition(f"occlusion/{name}", shape.description, partial(_hidden, what=name))
        for name, shape in OCCLUSIONS.items()
    ),
    *(Condition(f"pose/roll-{d}", f"turned {d} degrees in its plane", partial(_turned, roll=d)) for d in (15, 30)),
    *(
        Condition(
            f"pose/flat-yaw-{d}", f"turned away {d} degrees as a flat sheet: perspective only", partial(_turned, yaw=d)
        )
        for d in (15, 30)
    ),
    *_aging_conditions(),
)
"""Every condition, by family from mild to strong."""
