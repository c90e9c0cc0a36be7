"""One call's frames of a liveness session: nonce, time, sameness, face and movement, in this order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from biometrics.capture import Sample, acquire
from biometrics.errors import UnusableFace
from biometrics.ports import FaceDetector, FaceEmbedder
from biometrics.quality import QualityPolicy
from biometrics.types import Pixels, QualityCode
from liveness.challenge import STEP_TIME, Refusal, Sight, is_frontal
from liveness.consistency import repeats
from liveness.session_state import FrameClaim, LiveSession

MOST_FRAMES: Final = 8
"""Frames of one call."""

MOST_SESSION_FRAMES: Final = 400

SENDING_TIME: Final = timedelta(seconds=4)
"""How long after a step's end its last frames may still arrive."""


class FrameJudge:
    """Looks at frames with the gate's own detector and embedder."""

    def __init__(self, detector: FaceDetector, embedder: FaceEmbedder, quality: QualityPolicy) -> None:
        self._detector = detector
        self._embedder = embedder
        self._quality = quality

    def judge(
        self,
        live: LiveSession,
        claims: Sequence[FrameClaim],
        frames: Callable[[], AbstractContextManager[Sequence[Pixels]]],
        received: datetime,
    ) -> Refusal | bool:
        """Return a refusal, or whether the present step is done.

        Raises `Conflict` (`stale_capture`) for times far off, `UnusableFace` if no frame shows a usable face.
        """
        if any(claim.nonce != live.nonce for claim in claims):
            return Refusal.WRONG_NONCE
        live.frames += len(claims)
        if live.frames > MOST_SESSION_FRAMES:
            return Refusal.TOO_MANY_FRAMES
        times = live.pace.in_our_clock([claim.captured_at for claim in claims], received)
        if isinstance(times, Refusal):
            return times
        if received - live.challenge.issued_at > STEP_TIME + SENDING_TIME:
            return Refusal.TOO_SLOW
        with frames() as pictures:
            return self._look(live, times, pictures)

    def _look(self, live: LiveSession, times: Sequence[datetime], pictures: Sequence[Pixels]) -> Refusal | bool:
        for picture in pictures:
            if refusal := live.continuity.check_frame(picture):
                return refusal
        if repeats(pictures):
            return Refusal.FRAMES_REPEATED
        problems: list[str] = []
        for at, picture in zip(times, pictures, strict=True):
            try:
                verdict = self._see(live, at, picture)
            except UnusableFace as error:
                problems.append(error.code)
                continue
            if verdict:
                return verdict
        if len(problems) == len(pictures):
            raise UnusableFace("No frame shows a usable face: capture again.", code=problems[0])
        return False

    def _see(self, live: LiveSession, at: datetime, picture: Pixels) -> Refusal | bool:
        continuity = live.continuity
        try:
            sample = self._sample(live, picture)
        except UnusableFace as error:
            if error.code == QualityCode.MULTIPLE_FACES and (refusal := continuity.doubt(Refusal.MULTIPLE_FACES)):
                return refusal
            raise
        landmarks = sample.face.landmarks
        with self._embedder.embed(sample.aligned) as template:
            refusal = continuity.check_face(landmarks, template, turned=live.challenge.turned(landmarks))
        if refusal is Refusal.FRAMES_REPEATED:
            return refusal
        doubted = continuity.doubt(refusal)
        if refusal is not None:
            return doubted or False
        return live.challenge.see(Sight(at, landmarks))

    def _sample(self, live: LiveSession, picture: Pixels) -> Sample:
        """Find the face; until the challenge knows its front, only a good one from the front will do."""
        sample = acquire(picture, self._detector, self._quality)
        problems = sample.quality.problems
        if not live.challenge.faced and not problems and not is_frontal(sample.face.landmarks):
            problems = (QualityCode.EXTREME_POSE,)
        fatal = [p for p in problems if not live.challenge.faced or p is QualityCode.FACE_TOO_SMALL]
        if fatal:
            raise UnusableFace("The face cannot be used: capture again.", code=fatal[0])
        return sample
