"""Inference over folders of real files, with a detector that knows what it is shown."""

import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from frcnn_core.data import kitti, records
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.pipeline import evaluation_batches
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sources import Source
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.inference.detect import (
    Destination,
    DetectionWriter,
    find_images,
    infer,
    kitti_label,
)
from frcnn_core.structures import Detections, ImageDetections

NAMES = ("car", "traffic light")
STATIC = Preprocessing(height=32, width=64)
DYNAMIC = Preprocessing(height=0, width=0, min_side=32, max_side=64)


def image_file(path, height=16, width=16, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), 90).save(path, **options)
    return path


def middle_detector(images, sizes):
    """One car in the middle half of every image, and a doubtful traffic light all over it."""
    middle = np.concatenate([sizes / 4, sizes * 3 / 4], axis=1)
    whole = np.concatenate([sizes * 0, sizes], axis=1)
    count = len(images)
    return Detections(
        np.stack([middle, whole, whole * 0], axis=1),
        np.tile(np.float32([0.9, 0.2, 0]), (count, 1)),
        np.tile([0, 1, -1], (count, 1)),
        np.full(count, 2),
        None,
    )


class Calls:
    """Records what a detector is shown and what comes of it."""

    def __init__(self):
        self.shapes, self.images = [], []

    def detect(self, images, sizes):
        self.shapes.append(images.shape)
        return middle_detector(images, sizes)

    def on_image(self, path, pixels, detections):
        self.images.append((path.name, pixels.shape, detections))


def one_car(score=0.98765432):
    return ImageDetections(np.float32([[10, 20, 30, 40]]), np.float32([score]), np.array([0]), None)


def destination(folder):
    return Destination(folder / "pictures", folder / "labels")


def writer(folder, **changes):
    fields = {
        "destination": destination(folder),
        "class_names": NAMES,
        "picture_threshold": 0.6,
        "label_threshold": 0.6,
        "caption": True,
    }
    return DetectionWriter(**{**fields, **changes})


# Reading


def test_images_are_found_whatever_the_case_of_their_suffix(tmp_path):
    for name in ("b.JPG", "a.png", "c.jpeg"):
        image_file(tmp_path / name)
    images, skipped = find_images(tmp_path)
    assert [path.name for path in images] == ["a.png", "b.JPG", "c.jpeg"]
    assert skipped == []


def test_what_is_no_image_is_skipped_and_named(tmp_path):
    image_file(tmp_path / "a.png")
    (tmp_path / "Thumbs.db").write_bytes(b"?")
    (tmp_path / "deeper").mkdir()
    images, skipped = find_images(tmp_path)
    assert len(images) == 1
    assert [path.name for path, _ in skipped] == ["Thumbs.db", "deeper"]


@pytest.mark.parametrize("name, reason", [(".", "holds no image"), ("nowhere", "no such folder")])
def test_a_folder_without_images_is_an_error(tmp_path, name, reason):
    with pytest.raises(DataError, match=reason):
        find_images(tmp_path / name)


def test_boxes_are_in_pixels_of_each_original_image(tmp_path):
    paths = [image_file(tmp_path / "a.png", 16, 16), image_file(tmp_path / "b.jpg", 100, 300)]
    calls = Calls()
    report = infer(calls.detect, STATIC, paths, calls.on_image, batch_size=2)
    assert report.num_images == 2
    assert [(name, shape) for name, shape, _ in calls.images] == [
        ("a.png", (16, 16, 3)),
        ("b.jpg", (100, 300, 3)),
    ]
    assert calls.images[0][2].boxes.tolist() == [[4, 4, 12, 12], [0, 0, 16, 16]]
    assert calls.images[1][2].boxes[0] == pytest.approx([25, 75, 75, 225])


def test_the_last_batch_is_as_small_as_it_is(tmp_path):
    paths = [image_file(tmp_path / f"{i}.png") for i in range(3)]
    calls = Calls()
    infer(calls.detect, STATIC, paths, calls.on_image, batch_size=2)
    assert calls.shapes == [(2, 32, 64, 3), (1, 32, 64, 3)]


def test_progress_adds_up_to_all_files_though_the_last_one_is_skipped(tmp_path):
    paths = [image_file(tmp_path / f"{i}.png") for i in range(3)]
    told = []
    infer(
        middle_detector,
        STATIC,
        [paths[0], tmp_path / "gone.png", *paths[1:], tmp_path / "gone too.png"],
        lambda *_: None,
        batch_size=2,
        progress=told.append,
    )
    assert told == [3, 2, 0]


def test_images_of_different_shape_share_a_batch_when_the_network_size_is_dynamic(tmp_path):
    paths = [image_file(tmp_path / "a.png", 16, 32), image_file(tmp_path / "b.png", 32, 16)]
    calls = Calls()
    infer(calls.detect, DYNAMIC, paths, calls.on_image, batch_size=2)
    assert calls.shapes == [(2, 64, 64, 3)]
    assert calls.images[0][2].boxes[0].tolist() == [4, 8, 12, 24]
    assert calls.images[1][2].boxes[0].tolist() == [8, 4, 24, 12]


@pytest.mark.slow
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(32, 64, channel_order="bgr", means=(1, 2, 3), scale=2.0),
        Preprocessing(32, 64, resize=False),
        Preprocessing(0, 0, min_side=32, max_side=64, means=(9, 9, 9)),
        Preprocessing(32, 64, channels=1, channel_order="l", means=(7,)),
    ],
    ids=["stretched", "cut", "dynamic", "gray"],
)
def test_the_network_sees_the_very_pixels_it_sees_in_training(tmp_path, preprocessing):
    """Two images of different shape, as JPEG, through the training pipeline and through this."""
    paths, random = [], np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        for name, (height, width) in (("a", (20, 30)), ("b", (80, 40))):
            paths.append(tmp_path / f"{name}.jpg")
            pixels = random.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(paths[-1])
            writer.write(records.to_example(records.Record(name, height, width)))
    source = Source((tmp_path / "records",), tmp_path, "jpg")
    batches = evaluation_batches([source], ClassMap.of({"a": "a"}), preprocessing, batch_size=2)
    seen = []

    def detect(images, sizes):
        seen.append((images, sizes))
        return middle_detector(images, sizes)

    infer(detect, preprocessing, paths, lambda *_: None, batch_size=2)
    (trained,) = batches
    assert np.array_equal(seen[0][0], trained.images)
    assert np.array_equal(seen[0][1], trained.sizes)


def test_damaged_and_misnamed_files_are_skipped_with_a_reason_and_the_rest_goes_on(tmp_path):
    good = image_file(tmp_path / "good.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:-30])
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    bitmap = image_file(tmp_path / "bitmap.png", format="BMP")
    calls = Calls()
    paths = [cut, text, bitmap, good, tmp_path / "gone.png"]
    report = infer(calls.detect, STATIC, paths, calls.on_image, batch_size=4)
    assert [name for name, *_ in calls.images] == ["good.png"]
    assert [path.name for path, _ in report.skipped] == [
        "cut.png",
        "text.jpg",
        "bitmap.png",
        "gone.png",
    ]
    reasons = [reason for _, reason in report.skipped]
    assert reasons[2] == "not a PNG or JPEG file, whatever its name says."
    assert "No such file" in reasons[3]


def test_an_image_that_viewers_turn_is_seen_and_drawn_upright(tmp_path):
    """Boxes, labels and the picture written are those of the image as it is looked at."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = image_file(tmp_path / "in" / "phone.jpg", 100, 200, exif=exif)
    calls = Calls()
    infer(calls.detect, STATIC, [path], calls.on_image, batch_size=1)
    (_, shape, detections), *_ = calls.images
    assert shape == (200, 100, 3)
    assert detections.boxes[0] == pytest.approx([50, 25, 150, 75])
    infer(middle_detector, STATIC, [path], writer(tmp_path).write, batch_size=1)
    assert "car 0 0 0 25.00 50.00 75.00 150.00" in (tmp_path / "labels/phone.txt").read_text()
    with Image.open(tmp_path / "pictures" / "phone.jpg") as picture:
        assert picture.size == (100, 200)
        assert picture.getexif().get(0x0112, 1) == 1


def test_the_rate_leaves_out_the_first_batch(tmp_path):
    paths = [image_file(tmp_path / f"{i}.png") for i in range(2)]
    one = infer(middle_detector, STATIC, paths, lambda *_: None, batch_size=2)
    two = infer(middle_detector, STATIC, paths, lambda *_: None, batch_size=1)
    assert one.images_per_second is None
    assert two.images_per_second > 0


# Writing


def test_a_label_line_is_the_originals():
    assert kitti_label(one_car(), NAMES) == (
        "car 0 0 0 20.00 10.00 40.00 30.00 0 0 0 0 0 0 0 0.9876543\n"
    )


def test_labels_can_be_read_back():
    found = ImageDetections(np.float32([[1, 2, 3.25, 4]]), np.float32([0.5]), np.array([1]), None)
    (item,) = kitti.parse(kitti_label(found, NAMES), "label")
    assert (item.class_name, item.score) == ("traffic_light", 0.5)
    assert (item.y1, item.x1, item.y2, item.x2) == (1, 2, 3.25, 4)


def test_each_image_gets_a_picture_and_a_label_with_the_confident_detections(tmp_path):
    paths = [image_file(tmp_path / "in" / name, 100, 200) for name in ("a.png", "b.JPG")]
    infer(middle_detector, STATIC, paths, writer(tmp_path).write, batch_size=2)
    assert (tmp_path / "labels" / "a.txt").read_text() == (
        "car 0 0 0 50.00 25.00 150.00 75.00 0 0 0 0 0 0 0 0.9000000\n"
    )
    with Image.open(tmp_path / "pictures" / "b.JPG") as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (200, 100), "RGB")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        ["a.png", "a.png", "a.txt", "b.JPG", "b.JPG", "b.txt"]
    )


def test_labels_have_a_threshold_of_their_own(tmp_path):
    path = image_file(tmp_path / "in" / "a.png")
    infer(middle_detector, STATIC, [path], writer(tmp_path, label_threshold=0).write, batch_size=1)
    assert len((tmp_path / "labels" / "a.txt").read_text().splitlines()) == 2


def test_an_image_without_detections_gets_an_empty_label(tmp_path):
    path = image_file(tmp_path / "in" / "a.png")
    infer(middle_detector, STATIC, [path], writer(tmp_path, label_threshold=1).write, batch_size=1)
    assert (tmp_path / "labels" / "a.txt").read_text() == ""


def test_a_grayscale_model_draws_in_colour(tmp_path):
    path = image_file(tmp_path / "in" / "a.png", mode="L")
    gray = Preprocessing(32, 64, channels=1, channel_order="l", means=(0,))
    infer(middle_detector, gray, [path], writer(tmp_path).write, batch_size=1)
    with Image.open(tmp_path / "pictures" / "a.png") as picture:
        assert picture.mode == "RGB"


def test_no_folder_no_writer(tmp_path):
    path = image_file(tmp_path / "in" / "a.png")
    nowhere = writer(tmp_path, destination=Destination(None, None))
    nowhere.write(path, np.zeros((16, 16, 3), np.uint8), one_car())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in"]


def test_existing_results_are_refused_unless_they_may_be_overwritten(tmp_path):
    images = [image_file(tmp_path / "in" / f"{i}.png") for i in range(5)]
    for image in images:
        image_file(tmp_path / "pictures" / image.name)
    with pytest.raises(FrcnnError, match=r"0\.png, .*1\.png, .*2\.png and 2 more.*--overwrite"):
        destination(tmp_path).require_free(images, overwrite=False)
    destination(tmp_path).require_free(images, overwrite=True)


def test_an_image_is_never_overwritten_by_its_own_picture(tmp_path):
    image = image_file(tmp_path / "a.png")
    with pytest.raises(FrcnnError, match="would replace the image it is made of"):
        Destination(tmp_path / "x" / "..", None).require_free([image], overwrite=True)


@pytest.mark.slow
def test_two_images_of_one_stem_would_share_a_label(tmp_path):
    images = [image_file(tmp_path / name) for name in ("a.jpg", "a.png")]
    message = re.escape(f"a.jpg and a.png would both be written to {tmp_path / 'labels' / 'a.txt'}")
    with pytest.raises(FrcnnError, match=message):
        destination(tmp_path).require_free(images, overwrite=True)
    Destination(tmp_path / "pictures", None).require_free(images, overwrite=False)
