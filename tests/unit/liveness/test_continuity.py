"""One person, one camera, never the same frame."""

from __future__ import annotations

import numpy as np

from biometrics.types import Template
from liveness.challenge import FRONT_FRAMES, Refusal
from liveness.continuity import Continuity
from tests.factories import make_capture, make_template
from tests.unit.liveness.test_challenge import landmarks


def seen(continuity: Continuity, person: int, number: int, *, turned: float = 0.0) -> Refusal | None:
    return continuity.check_face(landmarks(nearer=number / 10), make_template(person), turned=turned)


def test_the_same_pixels_or_another_size_are_refused() -> None:
    continuity = Continuity(0.5)
    frame = make_capture(1)
    assert continuity.check_frame(frame) is None
    assert continuity.check_frame(make_capture(1, shot=1)) is None
    assert continuity.check_frame(frame.copy()) is Refusal.FRAMES_REPEATED
    assert continuity.check_frame(frame[:-2]) is Refusal.CAMERA_CHANGED


def test_the_same_landmarks_are_refused_also_much_later() -> None:
    continuity = Continuity(0.5)
    for number in range(20):
        assert seen(continuity, 1, number) is None
    assert seen(continuity, 1, 0) is Refusal.FRAMES_REPEATED


def test_another_person_is_refused_at_any_time() -> None:
    for before in range(1, FRONT_FRAMES + 2):
        continuity = Continuity(0.5)
        assert [seen(continuity, 1, number) for number in range(before)] == [None] * before
        assert seen(continuity, 2, before) is Refusal.FACE_CHANGED
        assert seen(continuity, 2, before + 1, turned=1.0) is Refusal.FACE_CHANGED


def test_one_doubt_alone_is_none() -> None:
    continuity = Continuity(0.5)
    for reason in (Refusal.FACE_CHANGED, Refusal.MULTIPLE_FACES):
        assert continuity.doubt(reason) is None
        assert continuity.doubt(None) is None
    assert continuity.doubt(Refusal.FACE_CHANGED) is None
    assert continuity.doubt(Refusal.MULTIPLE_FACES) is Refusal.MULTIPLE_FACES


def test_the_face_that_is_kept_is_that_of_accepted_frames_only() -> None:
    continuity = Continuity(0.5)
    assert [seen(continuity, person, number) for number, person in enumerate((1, 2, 1, 2, 1))] == [
        None,
        Refusal.FACE_CHANGED,
        None,
        Refusal.FACE_CHANGED,
        None,
    ]
    assert continuity.take_template().vector @ make_template(1).vector > 0.999


def test_a_turned_face_needs_to_resemble_less() -> None:
    continuity = Continuity(0.5)
    for number in range(FRONT_FRAMES):
        seen(continuity, 1, number)
    one, other = make_template(1).vector, make_template(2).vector
    other = other - (other @ one) * one
    mixed = 0.3 * one + np.sqrt(1 - 0.09) * other / np.linalg.norm(other)
    turned = Template(mixed.astype(np.float32))
    assert continuity.check_face(landmarks(yaw=30), turned, turned=1.0) is None
    assert continuity.check_face(landmarks(yaw=28), turned, turned=0.85) is None
    assert continuity.check_face(landmarks(yaw=25), turned, turned=0.75) is Refusal.FACE_CHANGED
    assert continuity.check_face(landmarks(yaw=10), turned, turned=0.0) is Refusal.FACE_CHANGED


def test_the_template_is_handed_over_or_overwritten() -> None:
    continuity = Continuity(0.5)
    for number in range(FRONT_FRAMES):
        seen(continuity, 1, number)
    face = continuity.take_template()
    assert face.vector @ make_template(1).vector > 0.999
    continuity.zero()
    assert face.vector.any(), "no longer its own"
    other = Continuity(0.5)
    seen(other, 1, 0)
    [kept] = other._templates
    other.zero()
    assert not kept.vector.any()
