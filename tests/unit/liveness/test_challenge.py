"""The state machine of the active challenge, on five points of a head in space and of a flat picture."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from biometrics.types import FloatArray
from liveness.challenge import (
    CONFIRMING_FRAMES,
    FLAT_FRAMES,
    FRONT_FRAMES,
    MOVEMENTS,
    REACTION,
    SEQUENCES,
    STEP_TIME,
    STILL_TIME,
    TURNS,
    Challenge,
    Refusal,
    Sight,
    Step,
    draw_steps,
    movements,
)
from tests.factories import NOON

HEAD = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0, 0.1, 0.45], [-0.4, 0.6, 0], [0.4, 0.6, 0]])
"""Eyes, nose tip, mouth corners: right, down, toward the lens, in distances between the eyes."""
SHEET = HEAD * [1, 1, 0]
FRAME = timedelta(seconds=0.15)

POSES = {
    None: {},
    Step.FACE_CAMERA: {},
    Step.TURN_LEFT: {"yaw": 30.0},
    Step.TURN_RIGHT: {"yaw": -30.0},
    Step.COME_CLOSER: {"nearer": 4.0},
    Step.HOLD_STILL: {},
}


def landmarks(points: FloatArray = HEAD, *, yaw: float = 0.0, pitch: float = 0.0, nearer: float = 0.0) -> FloatArray:
    """Points of a head, turned and projected by a lens at a distance of 14."""
    a, b = np.radians([yaw, pitch])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    turned = points @ (about_y @ about_x).T + [0, 0, nearer]
    return np.asarray(100 + 60 * turned[:, :2] * 14 / (14 - turned[:, 2:]), np.float32)


class Performance:
    """A challenge and somebody who takes it, frame by frame."""

    def __init__(self, *steps: Step, points: FloatArray = HEAD) -> None:
        self.challenge = Challenge((Step.FACE_CAMERA, *steps), NOON)
        self.points = points
        self.now = NOON

    def show(self, frames: int = 1, **pose: float) -> Refusal | bool:
        """Show a pose for some frames, as long as nothing comes of it; a finished step is followed by the next."""
        for _ in range(frames):
            self.now += FRAME
            verdict = self.challenge.see(Sight(self.now, landmarks(self.points, **pose)))
            if verdict:
                if verdict is True:
                    self.challenge.next_step(self.now)
                return verdict
        return False

    def do(self, step: Step) -> Refusal | bool:
        """Face the camera, then do a step."""
        return self.show(FRONT_FRAMES + 1) or self.show(12, **POSES[step])

    def face(self) -> Performance:
        """Do the first step of all, and go on facing the camera."""
        assert self.show(FRONT_FRAMES) is True
        assert self.show(FRONT_FRAMES) is False
        return self


def test_every_sequence_has_three_movements_two_turns_and_no_repetition() -> None:
    assert len(set(SEQUENCES)) == len(SEQUENCES) == 72
    assert len({movements(steps) for steps in SEQUENCES}) == 32
    for steps in SEQUENCES:
        assert [step for step in steps if step is Step.FACE_CAMERA] == [steps[0]]
        assert all(one is not other for one, other in pairwise(steps))
        assert len(movements(steps)) >= 3
        assert sum(step in TURNS for step in steps) >= 2
        assert steps.count(Step.COME_CLOSER) <= 1


def test_draws_differ() -> None:
    assert len({draw_steps() for _ in range(400)}) > 50


@pytest.mark.parametrize("steps", SEQUENCES)
def test_whoever_does_what_is_asked_gets_through(steps: tuple[Step, ...]) -> None:
    performance = Performance(*steps[1:])
    for done, step in enumerate(steps):
        assert performance.challenge.step is step
        assert performance.do(step) is True
        assert performance.challenge.done == done + 1
    assert performance.challenge.over
    assert performance.challenge.step is None


@given(st.sampled_from(SEQUENCES), st.integers(1, 4), st.sampled_from(list(POSES)))
def test_another_movement_never_counts(steps: tuple[Step, ...], wrong_at: int, movement: Step | None) -> None:
    performance = Performance(*steps[1:])
    for number, step in enumerate(steps):
        if number == wrong_at and movement in MOVEMENTS and movement is not step:
            assert performance.do(movement) is Refusal.WRONG_MOVEMENT
            return
        performance.do(step)


@example(
    (Step.FACE_CAMERA, Step.HOLD_STILL, Step.COME_CLOSER, Step.TURN_LEFT, Step.TURN_RIGHT),
    [*[(0.0, 0.0, 0.0)] * 5, (0.0, 0.0, 3.0)],
)
@given(
    st.sampled_from(SEQUENCES),
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-30, 30), st.floats(-3, 5)), max_size=60),
)
def test_a_flat_picture_never_passes(steps: tuple[Step, ...], poses: list[tuple[float, float, float]]) -> None:
    """However it is held: its five points stay in one plane, and every sequence has two turns."""
    performance = Performance(*steps[1:], points=SHEET)
    performance.show(FRONT_FRAMES)
    for yaw, pitch, nearer in poses:
        if isinstance(performance.show(CONFIRMING_FRAMES, yaw=yaw, pitch=pitch, nearer=nearer), Refusal):
            break
    assert not performance.challenge.over
    done = steps[: performance.challenge.done]
    assert not TURNS & set(done), "facing the camera, holding still and coming closer, but no turn"


def test_a_picture_that_is_tilted_far_is_named_flat() -> None:
    performance = Performance(Step.TURN_LEFT, Step.TURN_RIGHT, Step.TURN_LEFT, points=SHEET).face()
    assert performance.show(FLAT_FRAMES - 1, yaw=45) is False
    assert performance.show(1, yaw=45) is Refusal.FLAT_SURFACE


def test_a_head_that_turns_far_is_not_flat() -> None:
    performance = Performance(Step.TURN_LEFT, Step.TURN_RIGHT, Step.TURN_LEFT).face()
    assert performance.show(3, yaw=45) is True


def test_what_was_captured_before_the_instruction_is_too_fast() -> None:
    challenge = Challenge((Step.FACE_CAMERA, Step.TURN_LEFT, Step.TURN_RIGHT), NOON)
    assert challenge.see(Sight(NOON, landmarks())) is Refusal.TOO_FAST


def test_a_movement_within_the_time_of_a_reaction_is_too_fast() -> None:
    performance = Performance(Step.TURN_LEFT, Step.TURN_RIGHT, Step.TURN_LEFT).face()
    assert performance.do(Step.TURN_LEFT) is True
    challenge, start = performance.challenge, performance.now
    sights = [landmarks()] * CONFIRMING_FRAMES + [landmarks(yaw=-30)] * CONFIRMING_FRAMES
    verdicts = [challenge.see(Sight(start + REACTION * (n + 1) / 6, points)) for n, points in enumerate(sights)]
    assert verdicts == [False, False, False, Refusal.TOO_FAST]


@given(st.integers(-2, 2))
def test_a_step_ends_with_its_time(ticks: int) -> None:
    challenge = Challenge((Step.FACE_CAMERA, Step.TURN_LEFT, Step.TURN_RIGHT), NOON)
    at = NOON + STEP_TIME + timedelta(microseconds=ticks)
    assert challenge.is_late(at) is (ticks > 0)
    assert challenge.see(Sight(at, landmarks())) == (Refusal.TOO_SLOW if ticks > 0 else False)


def test_one_frame_is_no_movement() -> None:
    performance = Performance(Step.TURN_LEFT, Step.TURN_RIGHT, Step.TURN_LEFT).face()
    for _ in range(3):
        assert performance.show(CONFIRMING_FRAMES - 1, yaw=-30) is False
        assert performance.show(1) is False


def test_one_frame_is_no_front_either() -> None:
    """Landmarks that are found wrongly once must not turn the way back from a step into a movement."""
    performance = Performance(Step.TURN_LEFT, Step.COME_CLOSER, Step.TURN_LEFT).face()
    assert performance.do(Step.TURN_LEFT) is True
    assert performance.show(3, yaw=30) is False
    assert performance.show(CONFIRMING_FRAMES - 1) is False
    assert performance.show(3, yaw=30) is False
    assert performance.do(Step.COME_CLOSER) is True


def test_a_step_begins_from_the_front() -> None:
    performance = Performance(Step.TURN_LEFT, Step.COME_CLOSER, Step.TURN_LEFT).face()
    assert performance.do(Step.TURN_LEFT) is True
    assert performance.show(8, yaw=30) is False, "still turned from the step before"
    assert performance.do(Step.COME_CLOSER) is True


def test_holding_still_takes_its_time_and_stillness() -> None:
    performance = Performance(Step.HOLD_STILL, Step.TURN_LEFT, Step.TURN_RIGHT, Step.TURN_LEFT)
    performance.show(FRONT_FRAMES)
    for number in range(20):  # nodding
        assert performance.show(1, pitch=12.0 * (-1) ** (number // 2)) is False
    began = performance.now
    assert performance.show(20) is True
    assert performance.now - began > STILL_TIME - 3 * FRAME


def test_facing_the_camera_takes_frames_in_a_row_at_rest() -> None:
    performance = Performance(Step.TURN_LEFT)
    for _ in range(3):
        assert performance.show(FRONT_FRAMES - 1) is False
        assert performance.show(1, yaw=30) is False, "turned away: begun anew"
    for number in range(10):
        assert performance.show(1, pitch=10.0 * (-1) ** number) is False, "not at rest"
    assert performance.show(FRONT_FRAMES) is True


@pytest.mark.parametrize("steps", [(), (Step.TURN_LEFT,), (Step.FACE_CAMERA, Step.TURN_LEFT, Step.FACE_CAMERA)])
def test_a_challenge_begins_by_facing_the_camera(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="facing the camera"):
        Challenge(steps, NOON)
