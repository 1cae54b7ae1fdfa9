from dataclasses import replace

import h5py
import numpy as np
import pytest
import toy
from PIL import Image

from frcnn_core import assemble
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.errors import DataError, FrcnnError, SpecError
from frcnn_core.plugin.int8 import Int8Options
from frcnn_core.spec.load import loads

MEAN, SCALE = 40.0, 60.0
"""Of ``toy.model``."""


@pytest.fixture(scope="module")
def model():
    return toy.model()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Five scenes to train on and two to validate on."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 5, seed=1)
    toy.write_scenes(folder, "test", 2, seed=2)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Images of one gray each, 10, 20, ..., 50, in the order of their names."""
    path = tmp_path / "images"
    path.mkdir()
    for name, gray in zip("edcba", (50, 40, 30, 20, 10), strict=True):
        Image.new("RGB", (toy.SIDE, toy.SIDE), (gray,) * 3).save(path / f"{name}.png")
    return path


def calibration(model, spec="", **options):
    found = Int8Options(data_type="int8", **options)
    return assemble.calibration_images(loads(spec, "spec.txt"), model, found, toy.plugins())


def grays(batches):
    """The gray of each image, batch by batch."""
    return [
        np.rint(batch.max(axis=(1, 2, 3)) * SCALE + MEAN).astype(int).tolist() for batch in batches
    ]


@pytest.mark.slow
def test_images_of_a_folder_come_in_the_order_of_their_names_as_the_model_wants_them(model, folder):
    found = calibration(model, cal_image_dir=folder, batches=2, batch_size=2)
    assert (found.num_batches, found.source) == (2, str(folder))
    batches = list(found.batches())
    assert [batch.shape for batch in batches] == [(2, toy.SIDE, toy.SIDE, 3)] * 2
    np.testing.assert_allclose(batches[0][1], (20 - MEAN) / SCALE, atol=1e-6)
    assert grays(batches) == [[10, 20], [30, 40]]
    assert grays(found.batches()) == grays(batches), "again, for a second look"


def test_where_there_are_too_few_all_are_taken_with_a_warning(model, folder, caplog):
    found = calibration(model, cal_image_dir=folder, batches=10, batch_size=2)
    assert found.num_batches == 3
    assert grays(found.batches()) == [[10, 20], [30, 40], [50]]
    assert f"10 batches of 2 are 20 images, but only 5 of {folder} can be used" in caplog.text


def test_a_bad_image_is_named_once_and_skipped(model, folder, caplog):
    (folder / "b.png").write_bytes(b"?")
    (folder / "notes.txt").write_text("?")
    found = calibration(model, cal_image_dir=folder, batches=2, batch_size=2)
    assert grays(found.batches()) == [[10, 30], [40, 50]]
    list(found.batches())
    assert caplog.text.count("Skipped b.png: ") == 1


def test_a_folder_without_images_is_an_error(model, tmp_path, folder):
    with pytest.raises(DataError, match=r"--cal_image_dir: .*nowhere: there is no such folder"):
        calibration(model, cal_image_dir=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--cal_image_dir: .*empty: holds no image"):
        calibration(model, cal_image_dir=tmp_path / "empty")
    for path in folder.iterdir():
        path.write_bytes(b"?")
    with pytest.raises(DataError, match=r"none of the images of .* can be used"):
        calibration(model, cal_image_dir=folder)


def test_a_tensorfile_is_written_from_the_folder_and_then_read(model, folder, tmp_path, caplog):
    file = tmp_path / "cal.tensor"
    asked = dict(cal_image_dir=folder, cal_data_file=file, batches=3, batch_size=2)
    found = calibration(model, **asked)
    assert (found.num_batches, found.source) == (2, str(file))
    assert "whole batches of 2 only; 1 image(s) are left out" in caplog.text
    with h5py.File(file) as content:
        stored = content["_tensorfile_array_key__1/_tensorfile_array_key_"][()]
        assert stored.shape == (2, 3, toy.SIDE, toy.SIDE)
        np.testing.assert_allclose(stored[0], (30 - MEAN) / SCALE, atol=1e-6)
    assert grays(found.batches()) == [[10, 20], [30, 40]]
    # The file counts from now on, whatever becomes of the folder.
    for path in folder.iterdir():
        path.unlink()
    assert grays(calibration(model, **asked).batches()) == [[10, 20], [30, 40]]


def test_of_a_tensorfile_no_more_batches_are_read_than_asked_for(model, folder, tmp_path, caplog):
    file = tmp_path / "cal.tensor"
    calibration(model, cal_image_dir=folder, cal_data_file=file, batches=2, batch_size=2)
    assert grays(calibration(model, cal_data_file=file, batches=1).batches()) == [[10, 20]]
    assert "--batches asks for" not in caplog.text
    assert calibration(model, cal_data_file=file, batches=9).num_batches == 2
    assert "holds 2 batches of 2 images; --batches asks for 9" in caplog.text


def test_a_tensorfile_of_another_size_says_which_sizes(model, tmp_path):
    with h5py.File(tmp_path / "cal.tensor", "w") as file:
        file.attrs["count"] = 1
        group = file.create_group("_tensorfile_array_key__0")
        group["_tensorfile_array_key_"] = np.zeros((8, 3, 32, 48), np.float32)
    with pytest.raises(DataError, match=r"are 32 x 48 x 3 .*, but the model takes 64 x 64 x 3"):
        calibration(model, cal_data_file=tmp_path / "cal.tensor")


@pytest.mark.slow
def test_without_images_given_those_that_the_spec_trains_on_are_taken(model, scenes):
    spec = toy.spec_text(scenes, validation=toy.validated_on(scenes, "test"), seed=3)
    found = calibration(model, spec, batches=5, batch_size=2)
    assert (found.num_batches, found.source) == (3, "the training images of the spec")
    images = np.concatenate(list(found.batches()))
    np.testing.assert_array_equal(images, np.concatenate(list(found.batches())))

    def read(name):
        path = scenes / "images" / name
        return (np.asarray(Image.open(path), np.float32) - MEAN) / SCALE

    order = [
        next(i for i in range(5) if np.allclose(read(f"train_{i}.png"), image, atol=1e-5))
        for image in images
    ]
    assert sorted(order) == [0, 1, 2, 3, 4], "each as it is, without augmentation"
    other = toy.spec_text(scenes, seed=4)
    again = np.concatenate(list(calibration(model, other, batches=5, batch_size=2).batches()))
    assert not np.array_equal(images, again), "the spec's seed shuffles them"


@pytest.mark.slow
def test_validation_data_that_is_gone_does_not_matter(model, scenes):
    spec = toy.spec_text(scenes, validation=toy.validated_on(scenes, "nowhere"))
    assert calibration(model, spec, batches=1, batch_size=2).num_batches == 1


@pytest.mark.slow
def test_a_bad_training_image_is_named_and_skipped(model, tmp_path, caplog):
    toy.write_scenes(tmp_path, "train", 3, seed=1)
    (tmp_path / "images" / "train_1.png").write_bytes(b"?")
    found = calibration(model, toy.spec_text(tmp_path), batches=1, batch_size=3)
    assert [len(batch) for batch in found.batches()] == [2]
    assert "train_1.png: not a JPEG or PNG image" in caplog.text


def test_a_spec_without_training_data_says_what_to_type(model, tmp_path):
    with pytest.raises(SpecError, match="Give a folder of images with --cal_image_dir DIR"):
        calibration(model)
    with pytest.raises(FrcnnError, match=r"(?s)no file matches.*Or give a folder of images"):
        calibration(model, toy.spec_text(tmp_path / "gone"))


@pytest.mark.slow
def test_images_of_a_dynamic_shape_come_one_by_one_with_no_padding_between(model, tmp_path):
    for name, size in (("a", (64, 32)), ("b", (32, 64))):
        Image.new("RGB", size, (90,) * 3).save(tmp_path / f"{name}.png")
    detector = model.detector
    dynamic = replace(
        model,
        detector=FasterRCNN(*detector.parts.values(), anchors=detector.anchors, dynamic_shape=True),
        preprocessing=Preprocessing(0, 0, min_side=32, max_side=64),
    )
    found = calibration(dynamic, cal_image_dir=tmp_path, batches=1, batch_size=2)
    assert found.num_batches == 2
    assert [batch.shape for batch in found.batches()] == [(1, 32, 64, 3), (1, 64, 32, 3)]
    with pytest.raises(SpecError, match="a tensorfile holds images of one size"):
        calibration(dynamic, cal_image_dir=tmp_path, cal_data_file=tmp_path / "cal.tensor")
