import zipfile

import pytest

from biometrics.errors import MalformedInput, TooLarge
from evaluation.images import open_images


@pytest.fixture(params=["folder", "zip"])
def images(request, tmp_path):
    if request.param == "folder":
        (tmp_path / "some").mkdir()
        (tmp_path / "some" / "a.png").write_bytes(b"0123456789")
        return tmp_path
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/a.png", b"0123456789")
    return tmp_path / "images.zip"


def test_a_file_is_read(images):
    with open_images(images) as source:
        assert source.read("some/a.png", 10) == b"0123456789"


def test_a_large_file_is_refused_before_it_is_read(images):
    with open_images(images) as source, pytest.raises(TooLarge):
        source.read("some/a.png", 9)


@pytest.mark.parametrize("name", ["some/b.png", "some", "some/"])
def test_what_is_missing_or_no_file_is_refused(images, name):
    with open_images(images) as source, pytest.raises(MalformedInput):
        source.read(name, 10)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(range(256)) * 9)
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with open_images(path) as source, pytest.raises(MalformedInput):
        source.read("a.png", 10_000)


def test_images_are_a_folder_or_a_zip_file(tmp_path):
    (tmp_path / "text").write_text("neither")
    for path in (tmp_path / "text", tmp_path / "absent"):
        with pytest.raises(MalformedInput), open_images(path):
            pass
