"""Makes captures of living people and of attacks on them, as the simulated camera of `evaluation/` takes them.

Every source of living faces gives captures of both classes, so that the source never tells the class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from biometrics.types import Box, Face, FloatArray, Pixels
from evaluation.attacks import print_attack_placed, replay_attack_placed
from evaluation.camera import CameraSettings, Matrix, Placed, photograph_placed
from evaluation.masks import Sitter, worn_attack_placed
from training.pad_faces import ALIGNED_BOX, ARCFACE_POINTS

Species = Literal[
    "bona_fide",
    "print",
    "replay_like",
    "simulated_print",
    "simulated_replay",
    "simulated_cutout",
    "simulated_partial_mask",
]
SIMULATED: tuple[Species, ...] = (
    "simulated_print",
    "simulated_replay",
    "simulated_cutout",
    "simulated_partial_mask",
)


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A picture with a face, and where the face is."""

    pixels: Pixels
    face: Face


def random_camera(rng: np.random.Generator) -> CameraSettings:
    """Draw a camera; both classes draw from the same ones."""
    return CameraSettings(
        zoom=rng.uniform(1.0, 1.1),
        turn=rng.uniform(-8, 8),
        yaw=rng.uniform(-12, 12),
        gain=rng.uniform(0.65, 1.3),
        slope=rng.uniform(-0.4, 0.4),
        blur=rng.choice([0.0, rng.uniform(0.2, 1.2)]),
        shot_noise=rng.uniform(0.0, 0.03),
        read_noise=rng.uniform(0.0, 0.01),
        warmth=rng.normal(0, 0.05),
        bands=rng.choice([0.0, 0.0, rng.uniform(0.0, 0.08)]),
        jpeg_quality=int(rng.integers(60, 96)),
        first_jpeg_quality=int(rng.choice([0, 0, int(rng.integers(60, 96))])),
    )


def aligned_portrait(aligned: Pixels, rng: np.random.Generator) -> Portrait:
    """Make a portrait from a 112 x 112 aligned face: enlarged, its border mirrored outward by a random width."""
    scale = rng.uniform(1.0, 2.2)
    enlarged = cv2.resize(aligned, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pad = round(enlarged.shape[0] * rng.uniform(0.08, 0.6))
    pixels = np.pad(np.asarray(enlarged, dtype=np.uint8), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    move: Matrix = np.array([[scale, 0, pad], [0, scale, pad], [0, 0, 1]])
    return Portrait(pixels, moved_face(Face(ALIGNED_BOX, 1.0, ARCFACE_POINTS), move))


def cut_portrait(portrait: Portrait, rng: np.random.Generator) -> Portrait:
    """Cut a frame down to a portrait around its face, with a random width around."""
    box, image = portrait.face.box, portrait.pixels
    reach = box.height * rng.uniform(0.7, 1.6)
    x, y = box.center
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    pixels = image[top : round(y + reach), left : round(x + reach)]
    move: Matrix = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    return Portrait(np.ascontiguousarray(pixels), moved_face(portrait.face, move))


def capture(portrait: Portrait, other: Portrait, species: Species, rng: np.random.Generator) -> Portrait:
    """Return a simulated capture of a person, or of an attack with the person's portrait by `other`."""
    pixels = int(rng.integers(256, 513))
    room = other.pixels if rng.random() < 0.7 else None
    if species == "bona_fide":
        scale = pixels / max(portrait.pixels.shape[:2])
        drawn = cv2.resize(
            portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        scene = Placed(np.asarray(drawn, dtype=np.uint8), np.diag([scale, scale, 1.0]))
    elif species == "simulated_print":
        scene = print_attack_placed(portrait.pixels, rng, pixels=pixels, room=room)
    elif species == "simulated_replay":
        scene = replay_attack_placed(portrait.pixels, rng, pixels=pixels, room=room)
    else:
        cut: Literal["cutout", "partial_mask"] = "cutout" if species == "simulated_cutout" else "partial_mask"
        victim = Sitter(portrait.pixels, portrait.face.landmarks)
        scene = worn_attack_placed(cut, victim, Sitter(other.pixels, other.face.landmarks), rng, pixels=pixels)
    worn = species in ("simulated_cutout", "simulated_partial_mask")
    camera = random_camera(rng)
    if species != "bona_fide" and not worn:
        camera = replace(camera, turn=camera.turn / 2, yaw=camera.yaw / 2)
    picture = photograph_placed(scene.pixels, camera, rng)
    face = moved_face(other.face if worn else portrait.face, picture.matrix @ scene.matrix)
    return Portrait(picture.pixels, jittered_face(face, rng))


def moved_face(face: Face, matrix: Matrix) -> Face:
    """Return a face whose picture was moved by a 3 x 3 matrix; the box stays upright and keeps its shape."""
    box = face.box
    points = _moved(face.landmarks, matrix)
    corners = _moved(
        np.array(
            [
                [box.x, box.y],
                [box.x + box.width, box.y],
                [box.x, box.y + box.height],
                [box.x + box.width, box.y + box.height],
            ],
            dtype=np.float32,
        ),
        matrix,
    )
    width = float(np.linalg.norm(corners[1] - corners[0]))
    height = float(np.linalg.norm(corners[2] - corners[0]))
    x, y = corners.mean(axis=0)
    return Face(Box(float(x) - width / 2, float(y) - height / 2, width, height), face.score, points)


def jittered_face(face: Face, rng: np.random.Generator) -> Face:
    """Return a face as an imperfect detector would find it."""
    box = face.box
    scale = rng.uniform(0.93, 1.07, 2)
    shift = rng.normal(0, 0.03, 2) * (box.width, box.height)
    width, height = box.width * float(scale[0]), box.height * float(scale[1])
    x, y = box.center[0] + float(shift[0]), box.center[1] + float(shift[1])
    noise = rng.normal(0, 0.01, (5, 2)) * box.width
    landmarks = (face.landmarks + noise).astype(np.float32)
    return Face(Box(x - width / 2, y - height / 2, width, height), face.score, landmarks)


def _moved(points: FloatArray, matrix: Matrix) -> FloatArray:
    """Move n x 2 points by a 3 x 3 matrix."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:], dtype=np.float32)
