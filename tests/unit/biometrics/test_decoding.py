from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from biometrics.decoding import decode_image, header_size, image_format
from biometrics.errors import DwarpalError, MalformedInput, TooLarge, UnsupportedImage
from biometrics.types import Pixels

LIMITS = {"max_bytes": 10 * 2**20, "max_pixels": 16_000_000}
SCENE = (np.indices((24, 40)).sum(axis=0) * 4 % 256).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(SCENE).convert(mode)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int, body: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = body or zlib.compress(bytes(2**20), 9) * 18
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


VALID = [
    encode(scene(), "JPEG"),
    encode(scene(), "JPEG", progressive=True),
    encode(scene("CMYK"), "JPEG"),
    encode(scene("L"), "PNG"),
    encode(scene("RGBA"), "PNG"),
    encode(scene("P"), "PNG"),
    encode(scene(), "WEBP"),
    encode(scene(), "WEBP", lossless=True),
    encode(scene("RGBA"), "WEBP"),
]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(SCENE.astype(np.uint16) << 8) if mode == "I;16" else scene(mode)
    pixels = decode_image(encode(image, "PNG"), **LIMITS)
    assert pixels.shape == (24, 40, 3)
    assert pixels.dtype == np.uint8
    if mode not in ("1", "P"):
        np.testing.assert_array_equal(pixels, np.repeat(SCENE[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_jpeg_mode_becomes_rgb(mode: str) -> None:
    pixels = decode_image(encode(scene(mode), "JPEG", quality=100), **LIMITS)
    assert np.abs(pixels.astype(int) - SCENE[..., None]).max() < 20


def test_transparency_shows_white() -> None:
    pixels = decode_image(encode(Image.new("RGBA", (4, 4), (10, 20, 30, 0)), "PNG"), **LIMITS)
    assert pixels.min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    pixels = decode_image(encode(stored, kind, exif=exif.tobytes(), quality=100), **LIMITS)
    assert np.abs(pixels.astype(int) - upright).max() < 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_broken_exif_means_upright() -> None:
    content = encode(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff garbage")
    assert decode_image(content, **LIMITS).shape == (24, 40, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert decode_image(content, **LIMITS)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        VALID[0][:-200],
        VALID[0][:300],
        VALID[3][:60],
        VALID[6][:40],
        png_bomb(0, 5),
        png_bomb(9, 9, b"x"),
    ],
)
def test_broken_files_are_malformed(content: bytes) -> None:
    with pytest.raises(MalformedInput) as raised:
        decode_image(content, **LIMITS)
    assert raised.value.code == "malformed_image"


@pytest.mark.parametrize(
    "content",
    [
        encode(scene("P"), "GIF"),
        encode(scene(), "BMP"),
        encode(scene(), "TIFF"),
        b"<svg xmlns='x'/>",
        b"hello",
        b"RIFF1234WAVE",
    ],
)
def test_other_formats_are_unsupported(content: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        decode_image(content, **LIMITS)


def test_too_many_bytes() -> None:
    with pytest.raises(TooLarge):
        decode_image(VALID[0], max_bytes=len(VALID[0]) - 1, max_pixels=16_000_000)


@pytest.mark.parametrize("content", VALID)
def test_the_header_gives_the_size_and_the_limit_holds(content: bytes) -> None:
    kind = image_format(content)
    assert kind is not None
    assert header_size(content, kind) == (40, 24)
    assert decode_image(content, max_bytes=10**6, max_pixels=24 * 40).shape == (24, 40, 3)
    with pytest.raises(TooLarge):
        decode_image(content, max_bytes=10**6, max_pixels=24 * 40 - 1)


def large_jpeg_header() -> bytes:
    content = bytearray(VALID[0])
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(content)


def large_webp_header() -> bytes:
    return VALID[6][:26] + b"\xff\x3f\xff\x3f" + VALID[6][30:]


@pytest.mark.parametrize(
    "content", [png_bomb(13_000, 13_000), png_bomb(2**31 - 1, 2**31 - 1), large_jpeg_header(), large_webp_header()]
)
def test_a_pixel_bomb_is_refused_by_its_header(content: bytes) -> None:
    assert len(content) < 21_000
    before = psutil.Process().memory_info().rss
    with pytest.raises(TooLarge):
        decode_image(content, **LIMITS)
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def test_a_second_png_header_cannot_grow_the_image() -> None:
    small = encode(scene(), "PNG")
    larger = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0))
    with pytest.raises((TooLarge, MalformedInput)):
        decode_image(small[:33] + larger + small[33:], **LIMITS)


def test_compressed_text_in_a_png_cannot_unpack_to_much() -> None:
    info = PngImagePlugin.PngInfo()
    for number in range(64):
        info.add_text(f"k{number}", "a" * 900_000, zip=True)
    before = psutil.Process().memory_info().rss
    with pytest.raises(MalformedInput):
        decode_image(encode(scene(), "PNG", pnginfo=info), **LIMITS)
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def test_only_pixels_survive() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "CANARY")
    pixels = decode_image(encode(scene(), "PNG", pnginfo=info) + b"CANARY<?php", **LIMITS)
    assert type(pixels) is np.ndarray
    assert pixels.flags.owndata
    assert pixels.flags.writeable
    assert b"CANARY" not in pixels.tobytes()


@settings(max_examples=400)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=6),
    st.floats(0, 1),
)
def test_mutated_files_raise_nothing_but_our_errors(
    content: bytes, changes: list[tuple[float, bytes]], length: float
) -> None:
    mutated = bytearray(content)
    for place, value in changes:
        at = int(place * len(mutated))
        mutated[at : at + len(value)] = value
    if length > 0.3:
        mutated = mutated[: int(len(mutated) * length) + 1]
    check(bytes(mutated))


@settings(max_examples=200)
@given(
    st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\x00\x00\x00WEBPVP8 ", b"RIFF\x20\x00\x00\x00WEBPVP8X"]
    ),
    st.binary(max_size=80),
)
def test_garbage_after_the_magic_bytes_raises_nothing_but_our_errors(magic: bytes, rest: bytes) -> None:
    check(magic + rest)


def check(content: bytes) -> None:
    try:
        pixels: Pixels = decode_image(content, max_bytes=10**6, max_pixels=100_000)
    except DwarpalError as error:
        assert error.code in ("malformed_image", "too_large", "unsupported_image")
    else:
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.dtype == np.uint8
