from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frcnn_core import sample_data
from frcnn_core.data import kitti
from frcnn_core.errors import FrcnnError
from frcnn_core.sample_data.scene import scene
from frcnn_core.spec.load import load, load_dataset_spec


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    first = sample_data.generate(tmp_path / "a", 2, num_test_images=1, seed=7)
    again = sample_data.generate(tmp_path / "b", 2, num_test_images=1, seed=7)
    other = sample_data.generate(tmp_path / "c", 2, num_test_images=1, seed=8)
    assert contents(first.images) == contents(again.images)
    assert contents(first.labels) == contents(again.labels)
    assert contents(first.test_images) == contents(again.test_images)
    assert contents(first.images) != contents(other.images)


def test_a_larger_set_begins_as_a_smaller_one_and_test_pictures_are_others(tmp_path):
    small = sample_data.generate(tmp_path / "a", 1, num_test_images=1)
    large = sample_data.generate(tmp_path / "b", 2, num_test_images=1)
    assert contents(small.images)["000000.png"] == contents(large.images)["000000.png"]
    assert contents(small.images)["000000.png"] != contents(small.test_images)["000000.png"]


def test_pictures_and_labels_have_the_layout_of_kitti(tmp_path):
    data = sample_data.generate(tmp_path / "a", 2, num_test_images=0, width=200, height=160)
    assert sorted(contents(data.images)) == ["000000.png", "000001.png"]
    assert sorted(contents(data.labels)) == ["000000.txt", "000001.txt"]
    with Image.open(data.images / "000000.png") as image:
        assert (image.size, image.mode) == ((200, 160), "RGB")


def test_boxes_lie_inside_their_picture_and_classes_are_four():
    names = set()
    for number in range(40):
        _, objects = scene(np.random.default_rng(number), 320, 192)
        names |= {item.class_name for item in objects}
        for item in objects:
            assert 0 <= item.x1 < item.x2 <= 320
            assert 0 <= item.y1 < item.y2 <= 192
            assert 0 <= item.truncation < 0.6
            assert item.occlusion in (0, 1, 2)
    assert names == {"Car", "Cyclist", "Person", "Truck"}


def test_scenes_hold_small_and_large_objects_overlaps_and_empty_streets():
    scenes = [scene(np.random.default_rng(number), 320, 192)[1] for number in range(120)]
    objects = [item for objects in scenes for item in objects]
    heights = [item.y2 - item.y1 for item in objects]
    assert min(heights) < 45
    assert max(heights) > 100
    assert sum(item.occlusion > 0 for item in objects) > 20
    assert 1 <= sum(not objects for objects in scenes) <= 15


def test_distance_and_size_agree_with_a_pinhole_camera():
    _, objects = scene(np.random.default_rng(0), 320, 192)
    whole = [item for item in objects if item.truncation == 0 and item.class_name == "Car"]
    for item in whole:
        # The focal length is the picture's width; two pixels are lost to rounding.
        assert item.y2 - item.y1 == pytest.approx(320 * item.height / item.z, abs=2)


@pytest.mark.parametrize(("width", "height"), [(160, 160), (160, 640), (1248, 384)])
def test_pictures_of_any_shape_can_be_drawn(width, height):
    scenes = [scene(np.random.default_rng(number), width, height) for number in range(5)]
    assert all(image.size == (width, height) for image, _ in scenes)
    assert sum(len(objects) for _, objects in scenes) > 5


def test_the_specs_can_be_read_and_point_at_the_data(tmp_path):
    directory = tmp_path / 'my "sample" data'
    data = sample_data.generate(directory, 1, num_test_images=0, val_split=25)
    kitti_config = load_dataset_spec(data.dataset_spec).message.kitti_config
    assert kitti_config.root_directory_path == str(directory)
    assert (kitti_config.partition_mode, kitti_config.val_split) == ("shuffled", 25)
    message = load(data.train_spec).message
    size = message.model_config.input_image_config.size_height_width
    assert (size.height, size.width) == (192, 320)
    assert message.dataset_config.data_sources[0].image_directory_path == str(directory)


def test_labels_can_be_read_back(tmp_path):
    data = sample_data.generate(tmp_path, 1, num_test_images=0)
    assert [item.class_name for item in kitti.read(data.labels / "000000.txt")]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("keep me")
    with pytest.raises(FrcnnError, match="is not empty"):
        sample_data.generate(tmp_path, 1)
    assert contents(tmp_path) == {"precious.txt": b"keep me"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 0}, "at least 1"),
        ({"width": 100}, "100 x 192 are too small"),
        ({"val_split": 100}, "val_split is 100"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path, arguments, message
):
    with pytest.raises(FrcnnError, match=message):
        sample_data.generate(tmp_path / "new", **{"num_images": 1, **arguments})
    assert not (tmp_path / "new").exists()
