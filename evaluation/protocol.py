"""Evaluation protocols as CSV files: pairs for verification, labels for liveness (the idea is bob.bio's).

Errors name the line, never what stands in it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from biometrics.errors import MalformedInput

BONA_FIDE = "bona_fide"
ATTACK = "attack"
UNSPECIFIED = "unspecified"
"""The species of an attack whose row names none."""

MAX_CSV_BYTES = 256 * 2**20

_TRUTH = {"1": True, "true": True, "0": False, "false": False}
_NUMBERED = re.compile(r"(.+)_\d+")


class FacePolicy(StrEnum):
    """Which face of a photograph is the subject's: nearest the center, the largest, or exactly one."""

    CENTER = "center"
    LARGEST = "largest"
    ONLY = "only"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images and whether they show the same subject; `subject_a` and `subject_b` are "" where not given."""

    image_a: str
    image_b: str
    same: bool
    fold: str = ""
    subject_a: str = ""
    subject_b: str = ""


@dataclass(frozen=True, slots=True)
class Presentation:
    """One image of a live person or of an attack; `species` is "" for a live one, `subject`, `domain` "" if unknown."""

    image: str
    bona_fide: bool
    species: str = ""
    subject: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image of a set; `subject` and `group` are "" where not given."""

    path: str
    subject: str = ""
    group: str = ""


def read_pairs(path: Path) -> list[Pair]:
    """Read a pairs file; raise `MalformedInput` with the line number."""
    return parse_pairs(text_of(path))


def read_labels(path: Path) -> list[Presentation]:
    """Read a labels file; raise `MalformedInput` with the line number."""
    return parse_labels(text_of(path))


def read_index(path: Path, *, required: tuple[str, ...] = ()) -> list[IndexEntry]:
    """Read an index file; raise `MalformedInput` with the line number."""
    return parse_index(text_of(path), required=required)


def read_people(path: Path) -> list[IndexEntry]:
    """Read an index file, or take the images of a pairs file, each with its subject if that is known.

    Raises `MalformedInput` with the line number.
    """
    text = text_of(path)
    if "image_a" not in text.split("\n", 1)[0]:
        entries = parse_index(text)
        return [IndexEntry(e.path, e.subject or _subject_in_name(e.path), e.group) for e in entries]
    pairs = parse_pairs(text)
    subject_of = subjects(pairs)
    names = dict.fromkeys(image for pair in pairs for image in (pair.image_a, pair.image_b))
    return [IndexEntry(name, subject_of.get(name, "")) for name in names]


def parse_pairs(text: str) -> list[Pair]:
    """Parse `image_a,image_b,same` with optional `fold,subject_a,subject_b`; `same` is 1, 0, true or false."""
    pairs = []
    for line, cell in rows_of(text, ("image_a", "image_b", "same"), ("fold", "subject_a", "subject_b")):
        pairs.append(pair_of(cell, line))
    return pairs


def pair_of(cell: dict[str, str], line: int) -> Pair:
    """Return the pair that stands in a row; raise `MalformedInput` with the line number."""
    same = _TRUTH.get(cell["same"].lower())
    if same is None:
        raise MalformedInput(f"Line {line}: `same` must be 1, 0, true or false.")
    first, second = cell["subject_a"], cell["subject_b"]
    if bool(first) != bool(second):
        raise MalformedInput(f"Line {line}: only one of the two subjects is named.")
    if first and (first == second) != same:
        raise MalformedInput(f"Line {line}: `same` contradicts the subjects.")
    images = (_image(cell["image_a"], line), _image(cell["image_b"], line))
    return Pair(*images, same, cell["fold"], first, second)


def parse_labels(text: str) -> list[Presentation]:
    """Parse `image,label` with optional `species,subject,domain`; `label` is `bona_fide` or `attack`."""
    presentations = []
    seen: set[str] = set()
    for line, cell in rows_of(text, ("image", "label"), ("species", "subject", "domain")):
        image, label = _image(cell["image"], line), cell["label"]
        if label not in (BONA_FIDE, ATTACK):
            raise MalformedInput(f"Line {line}: `label` must be {BONA_FIDE} or {ATTACK}.")
        if image in seen:
            raise MalformedInput(f"Line {line}: this image is already labelled above.")
        if label == ATTACK and cell["species"] == BONA_FIDE:
            raise MalformedInput(f"Line {line}: {BONA_FIDE} is a label, not a species.")
        seen.add(image)
        species = "" if label == BONA_FIDE else cell["species"] or UNSPECIFIED
        presentations.append(Presentation(image, label == BONA_FIDE, species, cell["subject"], cell["domain"]))
    return presentations


def parse_index(text: str, *, required: tuple[str, ...] = ()) -> list[IndexEntry]:
    """Parse `path` with optional `subject,group`; no cell of a `required` column may be empty."""
    entries = []
    seen: set[str] = set()
    optional = tuple(column for column in ("subject", "group") if column not in required)
    for line, cell in rows_of(text, ("path", *required), optional):
        path = _image(cell["path"], line)
        if path in seen:
            raise MalformedInput(f"Line {line}: this image is already listed above.")
        if any(not cell[column] for column in required):
            raise MalformedInput(f"Line {line}: one of {', '.join(required)} is empty.")
        seen.add(path)
        entries.append(IndexEntry(path, cell["subject"], cell["group"]))
    return entries


def subjects(pairs: Sequence[Pair]) -> dict[str, str]:
    """Return the subject of each image where it is known: as given, else from a name like `Some_Name_0001.jpg`.

    Raises `MalformedInput` if one image is given two subjects.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        for image, given in ((pair.image_a, pair.subject_a), (pair.image_b, pair.subject_b)):
            subject = given or _subject_in_name(image)
            if subject and found.setdefault(image, subject) != subject:
                raise MalformedInput("One image is given two different subjects.")
    return found


def _subject_in_name(image: str) -> str:
    match = _NUMBERED.fullmatch(PurePosixPath(image).stem)
    return match[1] if match else ""


def text_of(path: Path) -> str:
    """Read a CSV file as text; raise `MalformedInput` if it is too large or not UTF-8."""
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise MalformedInput("The CSV file is too large.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MalformedInput("The CSV file cannot be read.") from error
    except UnicodeDecodeError:
        raise MalformedInput("The CSV file is not UTF-8 text.") from None


def rows_of(text: str, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, stripped cell by column) for each row that is not blank; absent columns are ""."""
    blank, empty = dict.fromkeys(optional, ""), True
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in required if name not in header]
        if missing:
            raise MalformedInput(f"Line 1: the header lacks {', '.join(missing)}.")
        known = [name for name in header if name in required + optional]
        if len(known) != len(set(known)):
            raise MalformedInput("Line 1: the header names a column twice.")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise MalformedInput(f"Line {reader.line_num}: {len(row)} cells under {len(header)} columns.")
            empty = False
            yield reader.line_num, {**blank, **dict(zip(header, (cell.strip() for cell in row), strict=True))}
    except csv.Error:
        raise MalformedInput(f"Line {reader.line_num}: this is not CSV.") from None
    if empty:
        raise MalformedInput("The CSV file has a header but no rows.")


def _image(path: str, line: int) -> str:
    """Check that a path names something inside the image folder."""
    if not path:
        raise MalformedInput(f"Line {line}: an image is not named.")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise MalformedInput(f"Line {line}: an image lies outside the image folder.")
    return path
