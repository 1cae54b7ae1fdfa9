"""Which way up: every orientation, against PIL, and what is garbled."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from image_bytes import (
    after_jfif,
    app1,
    chunk,
    decoded,
    encoded,
    exif_block,
    picture,
    png,
    segment,
    with_segments,
)
from PIL import ImageOps

from frcnn_core.data import exif
from frcnn_core.data.preprocessing import Preprocessing

JPEG = encoded(picture(), "JPEG", quality=95)
XMP = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>'


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def in_graph(data):
    return exif.orientation_in_graph(data)


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def shown(data):
    return Preprocessing(8, 8).decode(data)


def seen_by_pil(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(decoded(data)).convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize("place", [with_segments, after_jfif], ids=["first", "after JFIF"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_shown_as_pil_shows_it(orientation, order, place):
    data = place(JPEG, app1(exif_block(orientation, order, before=3)))
    assert exif.orientation(data) == in_graph(data) == orientation
    np.testing.assert_array_equal(shown(data), seen_by_pil(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_shown_as_pil_shows_it(orientation):
    block = chunk(b"eXIf", exif_block(orientation))
    data = png(picture(), bits=8, colour_type=2, extra=block)
    assert exif.orientation(data) == in_graph(data) == orientation
    np.testing.assert_array_equal(shown(data), seen_by_pil(data))


def test_six_is_a_camera_held_upright_whose_first_row_is_the_right_side():
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None]
    turned = exif.turned(tf.constant(stored), tf.constant(6))
    assert turned[..., 0].numpy().tolist() == [[4, 1], [5, 2], [6, 3]]


def test_what_cameras_write_around_the_tag_does_not_matter():
    thumbnail = encoded(picture(8, 8), "JPEG")
    block = exif_block(6, ">", before=9) + thumbnail
    profile = segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000))
    for data in (
        with_segments(JPEG, app1(block)),
        with_segments(JPEG, profile, profile, segment(0xED, bytes(500)), app1(block)),
        with_segments(JPEG, segment(0xE1, XMP), app1(block)),
        with_segments(JPEG, b"\xff\xff\xff", app1(block)),  # fill bytes
        with_segments(JPEG, app1(block), app1(exif_block(3))),  # the first one counts
    ):
        assert exif.orientation(data) == in_graph(data) == 6
        np.testing.assert_array_equal(shown(data), seen_by_pil(data))


def test_an_orientation_may_be_a_long_number():
    for order in "<>":
        data = with_segments(JPEG, app1(exif_block(8, order, kind=4)))
        assert exif.orientation(data) == in_graph(data) == 8


GARBLED = {
    "no such orientation": exif_block(9),
    "zero": exif_block(0),
    "a long number that is short in its lower half": exif_block(0x10006, kind=4),
    "text": exif_block(6)[:12] + b"\2\0" + exif_block(6)[14:],
    "two of them": exif_block(6)[:14] + b"\2\0\0\0" + exif_block(6)[18:],
    "no byte order": b"XX*\0" + exif_block(6)[4:],
    "half a block": exif_block(6)[:-8],
    "a directory beyond the end": b"II*\0" + struct.pack("<I", 2**31 + 5) + exif_block(6)[8:],
    "a directory at the end": b"II*\0" + struct.pack("<I", 25) + exif_block(6)[8:],
    "nothing but the mark": b"II*\0",
    "nothing": b"",
    "one byte": b"I",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # says PIL
@pytest.mark.parametrize("block", GARBLED.values(), ids=GARBLED.keys())
def test_a_garbled_block_turns_nothing(block):
    for data in (
        with_segments(JPEG, app1(block)),
        png(picture(), bits=8, colour_type=2, extra=chunk(b"eXIf", block)),
    ):
        assert exif.orientation(data) == in_graph(data) == 1
        np.testing.assert_array_equal(shown(data), np.asarray(decoded(data)))


@pytest.mark.parametrize(
    "data",
    [
        with_segments(JPEG, segment(0xE1, XMP)),
        with_segments(JPEG, segment(0xE2, b"Exif\0\0" + exif_block(6))),
        JPEG + JPEG[:2] + app1(exif_block(6)) + JPEG[2:],  # a second picture, as phones append
        png(picture(), bits=8, colour_type=2)[:-12] + chunk(b"eXIf", exif_block(6)),
        b"",
        b"Exif\0\0 is no image, nor is eXIf",
    ],
    ids=["only in XMP", "another segment", "another image", "after the pixels", "empty", "text"],
)
def test_what_is_no_exif_block_of_the_image_turns_nothing(data):
    assert exif.orientation(data) == in_graph(data) == 1


HEADS = (
    with_segments(JPEG, app1(exif_block(6, before=2)))[:120],
    after_jfif(JPEG, app1(exif_block(8, ">", before=1)))[:120],
    png(picture(4, 4), bits=8, colour_type=2, extra=chunk(b"eXIf", exif_block(3)))[:120],
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_bytes_python_and_the_graph_agree(data):
    head = bytearray(data.draw(st.sampled_from(HEADS)))
    places = st.integers(2, len(head) - 1)
    for place, value in data.draw(
        st.lists(st.tuples(places, st.sampled_from([0, 1, 2, 8, 0x2A, 0xE1, 0xFF])), max_size=3)
    ):
        head[place] = value
    head = bytes(head[: data.draw(st.integers(0, len(head)))])
    assert in_graph(head) == exif.orientation(head)


@pytest.mark.slow
def test_an_exported_model_turns_images_too(tmp_path):
    module = tf.Module()
    module.decode = tf.function(
        Preprocessing(8, 8).decode, input_signature=[tf.TensorSpec((), tf.string)]
    )
    tf.saved_model.save(module, tmp_path / "model")
    data = with_segments(JPEG, app1(exif_block(6)))
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.decode(data), seen_by_pil(data))


@pytest.mark.slow
def test_one_dataset_may_mix_turned_and_upright_ones():
    files = [with_segments(JPEG, app1(exif_block(number))) for number in (1, 6, 3)] + [JPEG]
    images = list(tf.data.Dataset.from_tensor_slices(files).map(Preprocessing(8, 8).decode))
    assert [image.shape[:2] for image in images] == [(40, 56), (56, 40), (40, 56), (40, 56)]
