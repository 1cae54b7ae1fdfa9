"""Augmentation from image files to batches: the box is where the painted marker is."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from record_sets import labelled

from frcnn_core.data import records
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.pipeline import training_batches
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sources import Source

CLASSES = ClassMap.of({"marker": "marker"})
GRAY, WHITE = 127, 255
MARKERS = {(60, 80): (20, 30, 40, 44), (90, 50): (40, 20, 66, 32), (64, 64): (24, 26, 38, 40)}
"""(height, width) of an image -> the marker in it, (y1, x1, y2, x2)."""


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> Source:
    """One image of each size, gray with a white marker that is labelled."""
    folder = tmp_path_factory.mktemp("marked")
    with tf.io.TFRecordWriter(str(folder / "records")) as writer:
        for number, ((height, width), box) in enumerate(MARKERS.items()):
            pixels = np.full((height, width, 3), GRAY, np.uint8)
            y1, x1, y2, x2 = box
            pixels[y1:y2, x1:x2] = WHITE
            (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
            objects = (labelled("marker", *box),)
            writer.write(records.to_example(records.Record(str(number), height, width, objects)))
    return Source((folder / "records",), folder, "png")


def batches(source, preprocessing, augmentation, *, times=1, **options):
    """One epoch with every image of the source some times, each with a draw of its own."""
    options = {"batch_size": 3, "max_objects": None, "seed": 1, "epoch": 0} | options
    return training_batches([source] * times, CLASSES, preprocessing, augmentation, **options)


def painted(pixels: np.ndarray) -> list[float]:
    """The box around the pixels that are nearer to white than to gray."""
    rows, columns = np.nonzero(pixels[..., 0] > (GRAY + WHITE) / 2)
    return [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


PREPROCESSINGS = {
    "stretched": Preprocessing(96, 160, channel_order="bgr", means=(99, 110, 120), scale=2.0),
    "cut or padded": Preprocessing(80, 96, resize=False),
    "grayscale": Preprocessing(96, 96, channels=1, channel_order="l", means=(100,)),
    "dynamic": Preprocessing(0, 0, min_side=72, max_side=128, means=(99, 110, 120)),
}
AUGMENTATIONS = {
    "flips": (Augmentation(hflip_probability=0.5, vflip_probability=0.5), 1.0),
    "translation": (Augmentation(translate_max_x=25, translate_max_y=20), 1.0),
    "zoom": (Augmentation(zoom_min=0.6, zoom_max=1.5), 1.5),
    # the corner of a turned rectangle is a point, which no pixel centre needs to meet
    "rotation": (Augmentation(rotate_rad_max=0.6), 2.0),
    "everything": (
        Augmentation(0.5, 0.5, 0.8, 1.3, 12, 9, rotate_rad_max=0.4, rotate_probability=0.7),
        2.0,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "changes"),
    [("stretched", change) for change in AUGMENTATIONS]
    + [(shape, "everything") for shape in PREPROCESSINGS if shape != "stretched"],
)
def test_the_box_is_where_the_marker_is(marked, shape, changes):
    preprocessing = PREPROCESSINGS[shape]
    augmentation, tolerance = AUGMENTATIONS[changes]
    places = set()
    for batch in batches(marked, preprocessing, augmentation, times=4):
        images = preprocessing.pixels(batch.images.numpy())
        for image, size, boxes, classes in zip(
            images, batch.sizes.numpy().astype(int), batch.boxes, batch.classes, strict=True
        ):
            if classes[0] == 0:
                where = painted(image[: size[0], : size[1]])
                np.testing.assert_allclose(boxes[0], where, atol=tolerance)
                places.add(tuple(np.round(boxes[0].numpy())))
    assert len(places) >= 6  # of 12 images, none at the same place again


@pytest.mark.slow
def test_what_is_uncovered_is_gray_and_what_is_padded_is_black(marked):
    preprocessing = Preprocessing(100, 120, resize=False)
    shrunk = Augmentation(zoom_min=2, zoom_max=2)
    (batch,) = batches(marked, preprocessing, shrunk)
    for image, size in zip(batch.images.numpy(), batch.sizes.numpy().astype(int), strict=True):
        assert (image[size[0] :] == 0).all()
        assert (image[:, size[1] :] == 0).all()
        inside = image[: size[0], : size[1]]
        assert 0.6 < np.mean(inside == 127.5) < 0.76  # three quarters, less a blurred edge


def kept(source, augmentation, min_box_size) -> list[str]:
    """Images whose marker is left."""
    preprocessing = Preprocessing(96, 96, resize=False)
    (batch,) = batches(source, preprocessing, augmentation, min_box_size=min_box_size)
    names = [Path(name.decode()).stem for name in batch.names.numpy()]
    return sorted(
        name for name, (label, *_) in zip(names, batch.classes.numpy(), strict=True) if label == 0
    )


@pytest.mark.slow
def test_the_smallest_size_of_a_box_counts_before_and_after_augmentation(marked):
    halved = Augmentation(zoom_min=2, zoom_max=2)
    doubled = Augmentation(zoom_min=0.5, zoom_max=0.5, min_visibility=0.0)
    # the markers are 20 x 14, 26 x 12 and 14 x 14 (height x width)
    assert kept(marked, halved, (7, 5)) == ["0", "1", "2"]
    assert kept(marked, halved, (8, 5)) == ["0", "1"]
    assert kept(marked, halved, (14, 5)) == []
    assert kept(marked, None, (14, 13)) == ["0", "2"]
    assert "1" in kept(marked, doubled, (14, 12))
    assert "1" not in kept(marked, doubled, (14, 13))  # twice as wide now, but it was too narrow


@pytest.mark.slow
def test_augmentation_of_an_image_does_not_depend_on_its_batch(marked):
    preprocessing = PREPROCESSINGS["stretched"]
    augmentation, _ = AUGMENTATIONS["everything"]
    augmentation = Augmentation(
        **{
            **vars(augmentation),
            "hue_rotation_max": 20,
            "color_shift_stddev": 0.1,
            "contrast_scale_max": 0.2,
        }
    )
    (together,) = batches(marked, preprocessing, augmentation, epoch=3)
    alone = list(batches(marked, preprocessing, augmentation, epoch=3, batch_size=1))
    np.testing.assert_array_equal(together.images, np.concatenate([b.images for b in alone]))
