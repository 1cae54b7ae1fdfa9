"""What both detectors are shown, and which files are refused as another model's."""

from types import SimpleNamespace

import numpy as np
import pytest
import toy
from PIL import Image

from frcnn_core import Exporter
from frcnn_core.assemble.verification import folder_images, labelled_images, open_pair
from frcnn_core.data.bad_images import BadImages
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.model_files import archive
from frcnn_core.plugin.components import Runtime
from frcnn_core.plugin.registry import Registered

PREPROCESSING = Preprocessing(height=32, width=48)
SETTINGS = DetectionSettings(rpn_nms_max_boxes=20, classifier_nms_max_boxes=10)


def validation(*sizes, absent=()):
    """A data set with batches of these sizes, whose images are filled with their number."""

    def batches(preprocessing, batch_size, bad_images):
        first = 0
        for size in sizes:
            batch = toy.noise(size)
            numbers = np.arange(first, first + size)
            images = np.tile(numbers[:, None, None, None], (1, 32, 48, 3)).astype(np.float32)
            own = np.where(np.isin(numbers, absent)[:, None], 0.0, batch.sizes)
            yield batch._replace(images=images, sizes=own)
            first += size

    return SimpleNamespace(batches=batches)


def labelled(data, count):
    return labelled_images(
        data, PREPROCESSING, batch_size=4, bad_images=BadImages(), source="a.txt", count=count
    )


@pytest.mark.parametrize(
    "count, expected", [(3, [3]), (4, [4]), (6, [4, 2]), (9, [4, 4, 1]), (20, [4, 4, 1])]
)
def test_the_last_batch_is_cut_so_that_no_image_too_many_is_shown(count, expected):
    images = labelled(validation(4, 4, 1), count)
    for _ in range(2):  # the same batches again
        batches = list(images.batches())
        assert [len(batch.images) for batch in batches] == expected
        assert all(len(part) == len(batch.images) for batch in batches for part in batch)


def test_layers_are_measured_on_the_first_images_that_are_there():
    calibration = labelled(validation(4, 4, absent=(1,)), 8).calibration(4)
    for _ in range(2):
        shown = [int(image[0, 0, 0, 0]) for image in calibration.batches()]
        assert shown == [0, 2, 3, 4]
    assert calibration.num_batches == 4


def test_a_folders_images_come_in_batches_and_one_that_is_damaged_is_told_once(tmp_path):
    for name in ("a.png", "c.png", "d.png"):
        Image.new("RGB", (96, 64), (200, 200, 200)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no image")
    skipped = []
    images = folder_images(
        sorted(tmp_path.iterdir()), PREPROCESSING, batch_size=2, skipped=skipped, source="a folder"
    )
    for _ in range(2):
        batches = list(images.batches())
        assert [batch.images.shape for batch in batches] == [(2, 32, 48, 3), (1, 32, 48, 3)]
    assert [path.name for path, _ in skipped] == ["b.png"]
    assert batches[0].names.tolist() == [str(tmp_path / "a.png"), str(tmp_path / "c.png")]
    assert batches[0].scales.tolist() == [[0.5, 0.5]] * 2
    assert batches[0].boxes.shape == (2, 0, 4)
    np.testing.assert_array_equal(batches[0].images, np.full((2, 32, 48, 3), 200, np.float32))


@pytest.mark.slow
def test_the_model_sees_images_rounded_as_a_file_that_takes_8_bits_does(tmp_path):
    archive.write(tmp_path / "a.tlt", toy.model().to_archive())
    own = toy.model().preprocessing
    model = toy.detector()

    class Pixels(Exporter):
        name, suffix = "pixels", ".pixels"

        def export(self, model, output, *, settings, options, images=None):
            return [output]

        def load(self, path, *, key=""):
            def detect(images, sizes):
                whole = np.float32(own.pixels(images))
                return model.detect(own.normalize(whole), sizes, SETTINGS)

            return Runtime(detect, toy.CLASSES, own, SETTINGS, rounds_pixels=True)

    plugins = toy.plugins()
    plugins.exporters.add(Registered(Pixels(), "pixels", "acme 1.0"))
    pair = open_pair(tmp_path / "a.tlt", tmp_path / "a.pixels", "", plugins, SETTINGS)
    resampled = own.normalize(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)))
    sizes = np.full((2, 2), 64, np.float32)
    both = [runtime.detect(resampled, sizes) for runtime in (pair.model, pair.exported)]
    assert np.sum(both[0].counts) > 0
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_allclose(getattr(both[0], name), getattr(both[1], name), atol=1e-5)
    unrounded = model.detect(resampled, sizes, SETTINGS)
    assert np.abs(unrounded.scores - both[0].scores).max() > 1e-4


@pytest.mark.slow
def test_two_model_files_can_be_compared_as_well(tmp_path):
    """A retrained model with the one before it, say; both then detect as the spec says."""
    for name in ("a.tlt", "b.tlt"):
        archive.write(tmp_path / name, toy.model().to_archive())
    pair = open_pair(tmp_path / "a.tlt", tmp_path / "b.tlt", "", toy.plugins(), SETTINGS)
    assert pair.settings == pair.model.settings == pair.exported.settings == SETTINGS
    assert pair.layer_costs(None) == ()
    batch = toy.noise()
    both = [runtime.detect(batch.images, batch.sizes) for runtime in (pair.model, pair.exported)]
    np.testing.assert_array_equal(both[0].boxes, both[1].boxes)
    assert both[0].boxes.shape[1] == SETTINGS.classifier_nms_max_boxes
