import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.data.classes import ClassMap
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.survey.view import NetworkView

CARS = ClassMap.of({"Car": "vehicle", "van": "vehicle"})


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(40, 60),
        Preprocessing(40, 60, resize=False),
        Preprocessing(0, 0, min_side=40, max_side=60),
    ],
)
@pytest.mark.parametrize("size", [(40, 60), (33, 57), (100, 90), (20, 300)])
def test_images_come_as_the_pipeline_brings_them(preprocessing, size):
    fit = NetworkView(preprocessing, CARS).fit(size)
    resampled = preprocessing.resample(tf.zeros((*size, 3), tf.uint8))
    assert fit.size == tuple(resampled.size.numpy())
    np.testing.assert_allclose(fit.scale, resampled.scale.numpy(), rtol=1e-6)


def test_boxes_are_scaled_and_clipped():
    view = NetworkView(Preprocessing(40, 60), CARS)
    boxes = view.boxes(np.array([[10, 20, 30, 130]]), (80, 120))
    assert boxes.tolist() == [[5, 10, 15, 60]]


def test_boxes_in_what_is_cut_off_have_no_area():
    view = NetworkView(Preprocessing(40, 60, resize=False), CARS)
    assert view.boxes(np.array([[10, 70, 30, 90]]), (80, 120)).tolist() == [[10, 60, 30, 60]]


def test_boxes_below_a_pixel_or_the_least_size_are_not_large_enough():
    view = NetworkView(Preprocessing(40, 60), CARS, min_box_size=(0, 3))
    boxes = np.float32([[0, 0, 1, 3], [0, 0, 0.9, 3], [0, 0, 1, 2.9]])
    assert view.large_enough(boxes).tolist() == [True, False, False]
    evaluated = view.of_split(trains=False)
    assert evaluated.large_enough(boxes).tolist() == [True, False, True]


@pytest.mark.slow
def test_classes_are_mapped_in_any_case():
    view = NetworkView(Preprocessing(40, 60), CARS)
    assert [view.class_of(name) for name in ("car", "VAN", "bus")] == ["vehicle", "vehicle", None]
