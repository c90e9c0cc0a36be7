"""Who takes the rendered challenge: people a gate would begin it with, each once. Real networks, real portraits."""

from __future__ import annotations

import numpy as np

from biometrics.capture import only_face
from biometrics.errors import UnsupportedImage
from biometrics.types import Pixels
from evaluation.head_motion import Head, Pose
from evaluation.lifting import lift_all
from services.bootstrap import Networks


def test_each_person_once_and_from_the_front(astronaut: Pixels, grace_hopper: Pixels, networks: Networks) -> None:
    head = Head.lifted(astronaut, only_face(networks.detector.detect(astronaut)).landmarks, eye=60)
    pictures = {
        "a": astronaut,
        "again": np.ascontiguousarray(astronaut[:-20]),
        "aside": head.turned(Pose(yaw=35)),
        "blank": np.full((200, 200, 3), 90, np.uint8),
        "dark": grace_hopper // 8,
        "g": grace_hopper,
        "late": astronaut,
    }

    def load(name: str) -> Pixels:
        if name == "broken":
            raise UnsupportedImage("No picture.")
        return pictures[name]

    names = ["broken", *pictures]
    heads, left_out = lift_all(names, load, networks.detector, networks.embedder, most=2)
    assert len(heads) == 2
    assert left_out["unreadable"] == 1
    assert left_out["same_person"] == 1
    assert left_out["extreme_pose"] == 1
    assert left_out["face_not_found"] == 1
    assert left_out["too_dark"] == 1
    assert left_out.total() == 5, "nobody is looked at when there are enough"
