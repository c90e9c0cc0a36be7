"""Who is in which part of the PAD data: train, dev (sets the threshold), test (never looked at before the end).

Nobody is in two parts. Whole webcam collections are held out, since frames of one collection are near-duplicates;
`webcam-02` and `webcam-11` show the same person and stay together.
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
