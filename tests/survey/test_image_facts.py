import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from frcnn_core.errors import DataError
from frcnn_core.survey.image_facts import examine

from .broken_set import jpeg, pixels, png


def saved(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def encoded(array, mode=None, **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, "PNG", **options)
    return file.getvalue()


def test_the_same_pixels_stored_otherwise_have_the_same_digest(tmp_path):
    plain = examine(saved(tmp_path, "a.png", png(1)))
    packed = examine(saved(tmp_path, "b.png", encoded(pixels(1), compress_level=1)))
    other = examine(saved(tmp_path, "c.png", png(2)))
    assert plain.digest == packed.digest != other.digest
    assert len(plain.digest) == 16


def test_one_pixel_makes_another_image(tmp_path):
    changed = pixels(1)
    changed[39, 59, 2] ^= 1
    one = examine(saved(tmp_path, "a.png", png(1)))
    assert one.digest != examine(saved(tmp_path, "b.png", encoded(changed))).digest


def test_the_same_bytes_in_another_shape_are_another_image(tmp_path):
    flat = np.zeros((40, 60, 3), np.uint8)
    wide = examine(saved(tmp_path, "a.png", encoded(flat)))
    high = examine(saved(tmp_path, "b.png", encoded(flat.reshape(60, 40, 3))))
    assert wide.digest != high.digest


def test_a_gray_picture_is_the_same_stored_as_rgb(tmp_path):
    gray = pixels(1)[..., 0]
    one = examine(saved(tmp_path, "a.png", encoded(gray)))
    assert one.digest == examine(saved(tmp_path, "b.png", encoded(gray, "RGB"))).digest


@pytest.mark.parametrize("quick", [False, True])
def test_a_turned_image_has_its_upright_and_its_stored_size(tmp_path, quick):
    facts = examine(saved(tmp_path, "a.jpg", jpeg(1, orientation=6)), quick=quick)
    assert (facts.size, facts.stored_size, facts.orientation) == ((60, 40), (40, 60), 6)


def test_a_turned_copy_has_the_same_pixels(tmp_path):
    upright = examine(saved(tmp_path, "a.png", png(1)))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(np.ascontiguousarray(pixels(1)[::-1, ::-1]), exif=exif)
    assert examine(saved(tmp_path, "b.png", turned)).digest == upright.digest


def test_damage_of_the_pixels_may_go_unseen_in_a_quick_look(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    # Every chunk is whole, but the pixels in it end after half of the image.
    header = struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0)
    scanlines = b"".join(b"\0" + row.tobytes() for row in pixels(1)[:20])
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    path = saved(tmp_path, "a.png", b"\x89PNG\r\n\x1a\n" + data)
    assert examine(path, quick=True).size == (40, 60)
    with pytest.raises(DataError, match=r"a\.png: cannot be read"):
        examine(path)


@pytest.mark.parametrize("quick", [False, True])
def test_a_missing_file_is_named(tmp_path, quick):
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: No such file"):
        examine(tmp_path / "gone.png", quick=quick)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_as_long_as_it_says(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(40 * 61, dtype=np.uint16).reshape(40, 61))
    else:
        image = Image.fromarray(pixels(1, width=61)).convert(mode)
    path = tmp_path / "a.png"
    image.save(path)
    assert examine(path).size == (40, 61)
