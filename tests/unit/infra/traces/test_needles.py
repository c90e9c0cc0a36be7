"""What counts as a trace: pieces of a template in each form, and pictures by their structure, never by magic alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from biometrics.types import Pixels
from infra.traces.needles import PIECE, STRIDE, Pieces, byte_needles, find_pictures, template_needles
from tests.conftest import encode


def unit_vector(seed: int = 1) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=512)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.mark.parametrize("form", ["<f2", "<f4", "opened"])
@pytest.mark.parametrize("rest", [PIECE + STRIDE, 512])
def test_what_overwriting_left_of_a_template_is_found(form: str, rest: int) -> None:
    vector = unit_vector()
    if form == "opened":
        sealed = vector.astype("<f2").astype("<f4")
        content = (sealed / np.linalg.norm(sealed)).tobytes()
    else:
        content = vector.astype(form).tobytes()
    data = bytes(1001) + content[300 : 300 + rest] + bytes(500)
    found = [what for _, what in Pieces(template_needles(vector)).find(data, len(data))]
    assert found and all(what.startswith("template, float") for what in found)


def test_another_template_is_not_this_one() -> None:
    data = unit_vector(2).tobytes() + unit_vector(2).astype("<f2").tobytes()
    assert list(Pieces(template_needles(unit_vector(1))).find(data, len(data))) == []


@pytest.mark.parametrize("content", [b"", b"short", bytes(1000), b"ab" * 500])
def test_what_proves_nothing_is_not_looked_for(content: bytes) -> None:
    with pytest.raises(MalformedInput):
        byte_needles(content, "canary")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_found_where_it_begins(kind: str, astronaut: Pixels) -> None:
    picture = encode(astronaut[:64, :64], kind)
    data = b"x" * 777 + picture + bytes(10)
    assert next(find_pictures(data, len(data))) == (777, f"{'WebP' if kind == 'WEBP' else kind} picture")
    assert list(find_pictures(data, 777)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + bytes(100),
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100),
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(50),
    ],
)
def test_magic_bytes_alone_are_no_picture(data: bytes) -> None:
    assert list(find_pictures(data, len(data))) == []


@given(st.binary(max_size=300), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_any_bytes_after_magic_are_judged_without_failing(data: bytes, magic: bytes) -> None:
    assert all(0 <= at < 4 for at, _ in find_pictures(b"..." + magic + data, 4))


@given(st.binary(max_size=120), st.lists(st.integers(0, 90), max_size=4), st.integers(0, 120))
def test_pieces_of_any_length_are_found_just_where_they_begin(noise: bytes, planted: list[int], end: int) -> None:
    needles = [*byte_needles(bytes(range(40)), "long"), *byte_needles(bytes(range(7, 27)), "short")]
    data = bytearray(noise)
    for at in planted:
        data[at : at + 32] = needles[0].piece
    expected = {
        (at, needle.what)
        for needle in needles
        for at in range(min(end, len(data)))
        if data[at:].startswith(needle.piece)
    }
    assert set(Pieces(needles).find(bytes(data), end)) == expected
