"""Who is in which part of the PAD data: train, dev (sets the threshold), test (in neither).

Nobody is in two parts. Whole webcam collections are held out, since frames of one collection are near-duplicates;
`webcam-02` and `webcam-11` show the same person and stay together. Of NUAA's 16 ids 9 are in train (`nuaa0013` only
live, `nuaa0016` only as prints), 3 in dev, 4 in test; of the nine webcam collections 5, 2 and 2.

The test part is not blind: its scores were looked at three times while the shipped network was made.
"""

from __future__ import annotations

import zlib
from typing import Literal

Part = Literal["train", "dev", "test"]

NUAA_DEV = frozenset({"nuaa0008", "nuaa0009", "nuaa0010"})
NUAA_TEST = frozenset({"nuaa0011", "nuaa0012", "nuaa0014", "nuaa0015"})
WEBCAM_DEV = frozenset({"webcam-01", "webcam-12"})
WEBCAM_TEST = frozenset({"webcam-03", "webcam-06"})


def part_of_frame(domain: str, subject: str) -> Part:
    """Return the part of a frame of `pad-train`."""
    if subject in NUAA_TEST or domain in WEBCAM_TEST:
        return "test"
    if subject in NUAA_DEV or domain in WEBCAM_DEV:
        return "dev"
    return "train"


def part_of_face(subject: str) -> Part:
    """Return the part of a person of `faces-train`: 6 % dev, 6 % test, by a checksum of the name."""
    bucket = zlib.crc32(subject.encode()) % 100
    return "test" if bucket < 6 else "dev" if bucket < 12 else "train"
