"""What is measured, against numpy on what TensorFlow's layers make."""

import numpy as np
import onnx
import pytest
import tensorflow as tf
import toy

from exporters.onnx import int8_toy
from frcnn_core.detector import folding
from frcnn_core.detector.roi_pooling import crop_and_resize
from frcnn_core.errors import FrcnnError
from frcnn_core.plugin.int8 import CalibrationImages, Int8Options
from frcnn_onnx.int8 import calibration, pairs
from frcnn_onnx.int8.calibration import calibrate
from frcnn_onnx.int8.range_finders import BINS

MINMAX = Int8Options(range_finder="minmax")


@pytest.fixture(scope="module")
def ranges():
    return calibrate(*int8_toy.marked(), int8_toy.noise(), MINMAX)


def layers_of(images):
    """What the float detector's tensors are, by ``part/layer``, of one image after the other.

    RoIs are those that it proposes.
    """
    detector = int8_toy.float_model().detector
    for image in np.concatenate(list(images.batches()))[:, None]:
        maps = folding.run(detector.features, image, training=False)
        logits, deltas = folding.run(detector.rpn, maps, training=False)
        proposals = detector.detect(
            image, np.float32([[toy.SIDE, toy.SIDE]]), int8_toy.SETTINGS
        ).proposals
        crops = crop_and_resize(maps, proposals, tf.constant([toy.SIDE, toy.SIDE]), side=3)
        yield {
            "features/input_image": image,
            "features/conv3_act": maps,
            "rpn/rpn_out_class": logits,
            "rpn/rpn_out_regress": deltas,
            "head/pooled_rois": crops,
        }


@pytest.mark.slow
def test_the_range_of_minmax_is_the_largest_value_there_was(ranges):
    expected: dict[str, float] = {}
    for tensors in layers_of(int8_toy.noise()):
        for name, values in tensors.items():
            expected[name] = max(expected.get(name, 0), np.abs(values).max())
    assert len(expected) == 5
    for name, largest in expected.items():
        assert ranges[name] == pytest.approx(largest, rel=1e-4), name


def test_histograms_count_absolute_values():
    marked, paths = int8_toy.marked()
    images = int8_toy.noise()
    values = np.abs(np.concatenate(list(images.batches())))
    (name,) = [t.tensor for t in pairs.marked_tensors(marked, paths) if t.tensor == "input_image"]
    ends = {name: float(values.max())}
    found = calibration._histograms(pairs.stripped(marked), [name], ends, images)
    expected, _ = np.histogram(values, BINS, (0, ends[name]))
    assert found[name].sum() == values.size
    # A value on the edge of two bins may be rounded into either.
    assert np.abs(found[name] - expected).sum() < values.size / 1000


@pytest.mark.slow
@pytest.mark.parametrize("finder", ["percentile", "entropy"])
def test_other_finders_cut_off_some_of_the_largest_values(finder, ranges):
    options = Int8Options(range_finder=finder, percentile=99)
    found = calibrate(*int8_toy.marked(), int8_toy.noise(), options)
    assert found.keys() == ranges.keys()
    assert all(0 < found[name] <= ranges[name] for name in found)
    assert found["features/input_image"] < 0.9 * ranges["features/input_image"]


def test_a_percentile_of_noise_is_that_of_its_distribution():
    options = Int8Options(range_finder="percentile", percentile=95.45)
    found = calibrate(*int8_toy.marked(), int8_toy.noise(), options)
    assert found["features/input_image"] == pytest.approx(2.0, rel=0.02)  # two standard deviations


def test_batches_do_not_matter_nor_does_a_fixed_batch_size_of_the_graph(ranges):
    marked, paths = int8_toy.marked()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(marked)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    images = np.concatenate(list(int8_toy.noise().batches()))
    whole = CalibrationImages(lambda: iter([images]), 1, "noise")
    found = calibrate(fixed, paths, whole, MINMAX)
    assert found == pytest.approx(ranges, rel=1e-4)


@pytest.mark.slow
def test_no_images_and_values_that_are_no_numbers_are_told():
    nothing = CalibrationImages(lambda: iter(()), 0, "an empty folder")
    with pytest.raises(FrcnnError, match="no images to calibrate int8 with in an empty folder"):
        calibrate(*int8_toy.marked(), nothing, MINMAX)
    broken = np.full((1, toy.SIDE, toy.SIDE, 3), np.nan, np.float32)
    images = CalibrationImages(lambda: iter([broken]), 1, "a broken folder")
    with pytest.raises(FrcnnError, match=r"no finite numbers.*a broken folder"):
        calibrate(*int8_toy.marked(), images, MINMAX)
