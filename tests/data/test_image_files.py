import numpy as np
import pytest
from image_bytes import chunk, png
from PIL import Image

from frcnn_core.data import image_files
from frcnn_core.data.exif import PNG_START, png_chunks
from frcnn_core.errors import DataError


def save(path, size=(6, 4), **options):
    Image.new("RGB", size, (200, 30, 60)).save(path, **options)
    return path


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG"])
def test_size_is_height_then_width(tmp_path, name):
    assert image_files.size(save(tmp_path / name, size=(6, 4))) == (4, 6)


def test_the_content_counts_and_not_the_name(tmp_path):
    assert image_files.size(save(tmp_path / "a.png", format="JPEG")) == (4, 6)
    with pytest.raises(DataError, match="not a PNG or JPEG file"):
        image_files.size(save(tmp_path / "b.png", format="BMP"))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_file_that_is_cut_short_is_an_error_that_names_it(tmp_path, name):
    path = save(tmp_path / name, size=(64, 64))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=name):
        image_files.size(path)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="not a PNG or JPEG file"):
        image_files.size(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(("orientation", "expected"), [(1, (4, 6)), (3, (4, 6)), (6, (6, 4))])
def test_size_is_that_of_the_image_as_viewers_show_it(tmp_path, name, orientation, expected):
    assert image_files.size(save(tmp_path / name, exif=exif(orientation))) == expected


def test_a_garbled_exif_block_is_fine(tmp_path):
    path = save(tmp_path / "a.jpg", exif=b"Exif\x00\x00XX\x00\x00\x00")
    assert image_files.size(path) == (4, 6)


@pytest.mark.parametrize("extension", [".png", "png", ".PNG"])
def test_extensions_are_found_in_any_case_with_or_without_dot(tmp_path, extension):
    for name in ("b.PNG", "a.png", "c.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert list(image_files.find(tmp_path, extension)) == ["a", "b"]


def test_two_images_of_one_name_are_an_error(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "a.PNG").touch()
    with pytest.raises(DataError, match=r"rename one of them"):
        image_files.find(tmp_path, "png")


def test_no_image_at_all_is_an_error_that_says_what_is_there(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    with pytest.raises(DataError, match=r"no file ends in \.png\. Files there: 2 \.jpg"):
        image_files.find(tmp_path, "png")


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "colour_type", "channels"), [(8, 2, 3), (16, 0, 1), (1, 0, 1)])
def test_a_png_whose_pixels_end_early_is_an_error_though_all_its_chunks_are_whole(
    tmp_path, bits, colour_type, channels
):
    pixels = np.zeros((8, 12, channels), np.uint16)
    path = tmp_path / "a.png"
    whole = png(pixels, bits=bits, colour_type=colour_type)
    path.write_bytes(whole)
    assert image_files.decode(path).shape[:2] == (8, 12)
    path.write_bytes(with_pixels(whole, png(pixels[:7], bits=bits, colour_type=colour_type)))
    with pytest.raises(DataError, match=r"a\.png: cannot be read: its pixels end early"):
        image_files.decode(path)


def with_pixels(png: bytes, other: bytes) -> bytes:
    """A PNG file with the pixels of another one of less rows."""
    pixels = b"".join(content for name, content in png_chunks(other) if name == b"IDAT")
    return PNG_START + b"".join(
        chunk(name, pixels if name == b"IDAT" else content) for name, content in png_chunks(png)
    )
