"""What counts as a trace: pieces of a template in each form, and pictures by their structure, never by magic alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from biometrics.types import Pixels
from infra.traces.needles import PIECE, STRIDE, byte_needles, find_pictures, find_pieces, template_needles
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
    found = [what for _, what in find_pieces(template_needles(vector), data, len(data))]
    assert found and all(what.startswith("template, float") for what in found)


def test_another_template_is_not_this_one() -> None:
    data = unit_vector(2).tobytes() + unit_vector(2).astype("<f2").tobytes()
    assert list(find_pieces(template_needles(unit_vector(1)), data, len(data))) == []


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
