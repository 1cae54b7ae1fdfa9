"""Every kind of image file people have, as training sees it and as ``image_files`` does.

What a pixel is comes from the array that the file was made of, or from PIL.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_bytes import app1, chunk, decoded, encoded, exif_block, picture, png, with_segments
from PIL import Image, ImageOps

from frcnn_core.data import image_files
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.errors import DataError

RGB = Preprocessing(8, 8)
GRAY = Preprocessing(8, 8, channels=1, channel_order="l", means=(0,))

COLOUR = picture()
LIGHT = picture(channels=1)
ALPHA = picture()[..., 1:2]
DEEP = (np.random.default_rng(0).integers(0, 2**16, (40, 56, 3))).astype(np.uint16)
INK = Image.fromarray(np.dstack([picture(channels=4)[..., :3], LIGHT // 4]), "CMYK")


def in_colour(data: bytes) -> np.ndarray:
    return RGB.decode(data).numpy()


def in_gray(data: bytes) -> np.ndarray:
    return GRAY.decode(data).numpy()


def adobe(transform: int) -> bytes:
    """A CMYK JPEG by PIL, its channels declared to be CMYK (0) or YCCK (2)."""
    data = encoded(INK, "JPEG", quality=95)
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


def without_adobe() -> bytes:
    """The same without the mark that its ink is stored inverted."""
    data = encoded(INK, "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]


def animated(**options) -> bytes:
    other = Image.fromarray(COLOUR[::-1])
    return encoded(COLOUR, "PNG", save_all=True, append_images=[other], duration=100, **options)


LOSSLESS_COLOUR = {
    "8 bits": (encoded(COLOUR, "PNG"), COLOUR),
    "16 bits": (png(DEEP, bits=16, colour_type=2), DEEP >> 8),
    "with alpha": (encoded(np.dstack([COLOUR, ALPHA]), "PNG"), COLOUR),
    "16 bits with alpha": (
        png(np.dstack([DEEP, DEEP[..., :1]]), bits=16, colour_type=6),
        DEEP >> 8,
    ),
    "one colour transparent": (encoded(COLOUR, "PNG", transparency=(0, 20, 200)), COLOUR),
    "animated": (animated(), COLOUR),
    "animated, with a picture for other viewers": (animated(default_image=True), COLOUR),
}
LOSSLESS_GRAY = {
    "8 bits": (encoded(LIGHT, "PNG"), LIGHT),
    "16 bits": (png(DEEP[..., :1], bits=16, colour_type=0), DEEP[..., :1] >> 8),
    "with alpha": (png(np.dstack([LIGHT, ALPHA]), bits=8, colour_type=4), LIGHT),
    "16 bits with alpha": (png(DEEP[..., :2], bits=16, colour_type=4), DEEP[..., :1] >> 8),
    "1 bit": (png(LIGHT % 2, bits=1, colour_type=0), LIGHT % 2 * 255),
    "2 bits": (png(LIGHT % 4, bits=2, colour_type=0), LIGHT % 4 * 85),
    "4 bits": (png(LIGHT % 16, bits=4, colour_type=0), LIGHT % 16 * 17),
}
OTHERS = {
    "palette": encoded(Image.fromarray(COLOUR).quantize(32), "PNG"),
    "palette with transparency": encoded(
        Image.fromarray(COLOUR).quantize(32), "PNG", transparency=3
    ),
    "jpeg": encoded(COLOUR, "JPEG", quality=90),
    "jpeg without subsampling": encoded(COLOUR, "JPEG", quality=90, subsampling=0),
    "progressive jpeg": encoded(COLOUR, "JPEG", progressive=True),
    "jpeg that is turned": with_segments(encoded(COLOUR, "JPEG"), app1(exif_block(6))),
    "png that is turned": png(
        COLOUR, bits=8, colour_type=2, extra=chunk(b"eXIf", exif_block(8, ">"))
    ),
    "two pictures, as phones write": encoded(
        COLOUR, "MPO", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]
    ),
    "a film at the end, as phones write": encoded(COLOUR, "JPEG") + b"ftyp\xff\xda\0\x08film" * 9,
}


@pytest.mark.parametrize("data, pixels", LOSSLESS_COLOUR.values(), ids=LOSSLESS_COLOUR.keys())
def test_a_colour_png_gives_the_upper_eight_bits_of_what_is_stored(data, pixels):
    np.testing.assert_array_equal(in_colour(data), pixels)


@pytest.mark.parametrize("data, pixels", LOSSLESS_COLOUR.values(), ids=LOSSLESS_COLOUR.keys())
def test_a_colour_png_becomes_luma_for_a_grayscale_network(data, pixels):
    luma = pixels @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(in_gray(data)[..., 0], luma, atol=1.2)


@pytest.mark.parametrize("data, pixels", LOSSLESS_GRAY.values(), ids=LOSSLESS_GRAY.keys())
def test_a_gray_png_gives_the_upper_eight_bits_of_what_is_stored(data, pixels):
    np.testing.assert_array_equal(in_gray(data), pixels)
    np.testing.assert_array_equal(in_colour(data), np.repeat(pixels, 3, axis=2))


def test_what_is_under_transparent_pixels_is_seen():
    clear = np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)
    assert (in_colour(encoded(clear, "PNG")) == (200, 100, 50)).all()


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_other_files_look_as_in_pil(data):
    upright = ImageOps.exif_transpose(decoded(data))
    np.testing.assert_array_equal(in_colour(data), np.asarray(upright.convert("RGB")))
    np.testing.assert_allclose(
        in_gray(data)[..., 0], np.asarray(upright.convert("RGB").convert("L")).astype(int), atol=3
    )


def test_a_grayscale_jpeg_looks_as_in_pil():
    data = encoded(LIGHT, "JPEG")
    expected = np.asarray(decoded(data))[..., None]
    np.testing.assert_array_equal(in_gray(data), expected)
    np.testing.assert_array_equal(in_colour(data), np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_a_cmyk_jpeg_of_adobe_looks_as_in_pil(transform):
    data = adobe(transform)
    assert decoded(data).mode == "CMYK"
    np.testing.assert_allclose(
        in_colour(data), np.asarray(decoded(data).convert("RGB")).astype(int), atol=1
    )
    luma = in_colour(data) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(in_gray(data)[..., 0], luma, atol=0.51)


def test_a_cmyk_jpeg_without_adobes_mark_holds_ink_and_not_its_absence():
    """White paper less the ink that is on it: (1 - c)(1 - k), by the definition of the inks."""
    data = without_adobe()
    stored = 255 - np.asarray(decoded(data)).astype(float)  # PIL takes every file for Adobe's
    expected = (255 - stored[..., :3]) * (255 - stored[..., 3:]) / 255
    np.testing.assert_allclose(in_colour(data), expected, atol=1)


# image_files ------------------------------------------------------------------------------------

ALL = {
    **{f"colour, {name}": data for name, (data, _) in LOSSLESS_COLOUR.items()},
    **{f"gray, {name}": data for name, (data, _) in LOSSLESS_GRAY.items()},
    **OTHERS,
    "grayscale jpeg": encoded(LIGHT, "JPEG"),
    "CMYK": adobe(0),
    "YCCK": adobe(2),
    "CMYK without Adobe's mark": without_adobe(),
}


@pytest.mark.parametrize("data", ALL.values(), ids=ALL.keys())
def test_size_and_pixels_are_those_that_training_sees(data, tmp_path):
    path = tmp_path / "a.PNG"
    path.write_bytes(data)
    seen = in_colour(data)
    assert image_files.size(path) == seen.shape[:2]
    pixels = image_files.decode(path)
    # CMYK becomes RGB by two ways of rounding.
    rounding = 1 if decoded(data).mode == "CMYK" else 0
    np.testing.assert_allclose(np.broadcast_to(pixels, seen.shape).astype(int), seen, atol=rounding)
    assert pixels.dtype == np.uint8


def test_grayscale_files_have_one_channel(tmp_path):
    for name, (data, expected) in LOSSLESS_GRAY.items():
        (tmp_path / name).write_bytes(data)
        if name != "16 bits with alpha":  # which PIL reads as RGBA
            np.testing.assert_array_equal(image_files.decode(tmp_path / name), expected)


CUT_SHORT = {
    **{f"jpeg by {n}": (encoded(COLOUR, "JPEG"), n) for n in (1, 2, 3, 50, 600)},
    **{f"progressive by {n}": (encoded(COLOUR, "JPEG", progressive=True), n) for n in (1, 50, 500)},
    **{f"png by {n}": (encoded(COLOUR, "PNG"), n) for n in (1, 4, 12, 13, 40)},
    "in the middle of a header": (encoded(COLOUR, "JPEG"), len(encoded(COLOUR, "JPEG")) - 30),
}


@pytest.mark.parametrize("data, missing", CUT_SHORT.values(), ids=CUT_SHORT.keys())
def test_a_file_that_is_cut_short_is_an_error_everywhere(data, missing, tmp_path):
    (tmp_path / "a.jpg").write_bytes(data[:-missing])
    with pytest.raises(tf.errors.InvalidArgumentError):
        RGB.decode(data[:-missing])
    for look in (image_files.size, image_files.decode):
        with pytest.raises(DataError, match=r"a\.jpg"):
            look(tmp_path / "a.jpg")


def test_a_png_that_is_turned_after_its_pixels_is_refused(tmp_path):
    """Training does not turn it: see the rules in ``exif``."""
    late = encoded(COLOUR, "PNG")[:-12] + chunk(b"eXIf", exif_block(6)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(late)
    for look in (image_files.size, image_files.decode):
        with pytest.raises(DataError, match=r"a\.png: EXIF orientation 6, told only after"):
            look(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(late.replace(exif_block(6), exif_block(1)))
    with pytest.raises(DataError, match="cannot be read"):  # the checksum is wrong now
        image_files.size(tmp_path / "a.png")


BASES = tuple(ALL.values())


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_are_decoded_or_named_and_nothing_else(tmp_path, data):
    damaged = bytearray(data.draw(st.sampled_from(BASES)))
    for place, value in data.draw(
        st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)
    ):
        damaged[int(place * (len(damaged) - 1))] = value
    (tmp_path / "a.png").write_bytes(damaged)
    for look in (image_files.size, image_files.decode):
        try:
            look(tmp_path / "a.png")
        except DataError as error:
            assert str(tmp_path / "a.png") in str(error)


def test_many_threads_may_decode_at_once(tmp_path):
    paths = []
    for number, data in enumerate(OTHERS.values()):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(data)
    one_by_one = [image_files.decode(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for alone, together in zip(
                one_by_one, pool.map(image_files.decode, paths), strict=True
            ):
                np.testing.assert_array_equal(alone, together)
