"""Rendered heads and sheets, as the face detector sees them."""

from __future__ import annotations

import numpy as np
import pytest

from biometrics.capture import only_face
from biometrics.types import FloatArray, Pixels
from evaluation.acting import Actor, Manner
from evaluation.head_motion import Head, Pose
from liveness.challenge import FLAT_FORESHORTENING, FRONT_TURN, TURN, Step
from liveness.geometry import change, size
from services.bootstrap import Networks


@pytest.fixture(scope="module")
def head(astronaut: Pixels, networks: Networks) -> Head:
    return Head.lifted(astronaut, only_face(networks.detector.detect(astronaut)).landmarks)


def seen(networks: Networks, picture: Pixels) -> FloatArray:
    return only_face(networks.detector.detect(picture)).landmarks


def test_unmoved_it_is_the_photograph(head: Head) -> None:
    difference = np.abs(head.turned(Pose()).astype(int) - head.texture).mean()
    assert difference < 2


@pytest.mark.parametrize("yaw", [-38, 38])
def test_a_head_turns_in_space_and_a_sheet_does_not(head: Head, networks: Networks, yaw: float) -> None:
    front = seen(networks, head.turned(Pose()))
    turned = change(front, seen(networks, head.turned(Pose(yaw=yaw))))
    tilted = change(front, seen(networks, head.sheet(Pose(yaw=yaw))))
    assert turned is not None
    assert tilted is not None
    assert turned.turn * np.sign(yaw) > TURN
    assert abs(tilted.turn) < TURN
    assert seen(networks, head.sheet(Pose(yaw=50))) is not None


def test_a_sheet_that_is_tilted_far_is_foreshortened_without_parallax(head: Head, networks: Networks) -> None:
    front = seen(networks, head.sheet(Pose()))
    tilted = change(front, seen(networks, head.sheet(Pose(yaw=48))))
    assert tilted is not None
    assert tilted.foreshortening < FLAT_FORESHORTENING
    assert abs(tilted.turn) < FRONT_TURN


def test_a_head_comes_closer(head: Head, networks: Networks) -> None:
    front, near = (seen(networks, head.turned(Pose(nearer=nearer))) for nearer in (0.0, 4.0))
    assert 1.3 < size(near) / size(front) < 1.6


def test_an_actor_does_what_it_is_told_and_faces_the_camera_between() -> None:
    actor = Actor(np.random.default_rng(1), Manner())
    done = actor.told(Step.TURN_LEFT, 0.0)
    assert abs(actor.pose(0.3).yaw) < 2
    assert actor.pose(done).yaw > 30
    done_again = actor.told(Step.TURN_RIGHT, done + 0.2)
    assert actor.pose(done_again).yaw < -30
    closer = actor.told(Step.COME_CLOSER, done_again)
    assert actor.pose(closer).nearer > 2.9
    assert abs(actor.pose(closer).yaw) < 2
