import keras
import pytest
import tensorflow as tf
import toy
from keras import layers

from frcnn_core.detector.quantized_layers import FakeQuantize
from frcnn_core.quantization import quantize
from frcnn_tflite.rounding import Rounding, rounded_tensors


@pytest.fixture(scope="module")
def parts():
    return quantize(toy.detector().parts, kernels=False)


def by_path(parts):
    return {rounded.path: rounded for rounded in rounded_tensors(parts).values()}


@pytest.mark.slow
def test_an_activation_is_made_by_the_convolution_and_normalization_before_it(parts):
    found = by_path(parts)
    names = {f"features/{name}" for name in ("conv0", "conv0_bn", "conv0_act")}
    assert found["features/conv0_act"].computes == names
    assert found["rpn/rpn_conv1"].computes == {"rpn/rpn_conv1"}
    assert found["features/input_image"].computes == set()


def test_what_relus_make_is_never_negative_and_neither_are_crops_of_it(parts):
    found = {path: rounded.is_nonnegative for path, rounded in by_path(parts).items()}
    assert found.pop("features/input_image") is False
    assert found.pop("rpn/rpn_out_class") is False
    assert found.pop("rpn/rpn_out_regress") is False
    assert "head/pooled_rois" in found
    assert all(found.values())


def test_a_sum_may_be_negative_if_one_of_its_terms_is(parts):
    images = keras.Input((8, 8, 4), name="images")
    cut = layers.ReLU(name="cut")(layers.Conv2D(4, 1, name="conv")(images))
    leaky = layers.LeakyReLU(name="leaky")(layers.Conv2D(4, 1, name="other")(images))
    sums = layers.Add(name="positive")([cut, cut]), layers.Add(name="any")([cut, leaky])
    features = keras.Model(images, layers.Concatenate(name="joined")(sums))
    drawn = quantize({"features": features}, kernels=False)
    found = by_path({**parts, **drawn})
    assert found["features/cut"].is_nonnegative
    assert not found["features/leaky"].is_nonnegative
    assert found["features/positive"].is_nonnegative
    assert not found["features/any"].is_nonnegative
    assert not found["features/joined"].is_nonnegative
    assert not found["head/pooled_rois"].is_nonnegative


# Multiples of 1/127 from -128 to 127, or of 1/255 from 0 to 255.
@pytest.mark.parametrize(
    ("trained", "rounded"), [(True, [-0.5039, 0.5039, 1.0]), (False, [0.0, 0.5020, 1.0])]
)
def test_only_trained_ranges_of_a_relu_have_codes_below_zero(parts, trained, rounded):
    ranges = {path: 1.0 for path in by_path(parts)}
    rounding = Rounding(parts, ranges, trained=trained)
    (layer,) = (
        layer
        for layer in parts["features"].layers
        if isinstance(layer, FakeQuantize) and layer.name == "conv0_act_qdq"
    )
    values = rounding(layer, tf.constant([-0.503, 0.503, 2.0]))
    assert values.numpy() == pytest.approx(rounded, abs=1e-4)


@pytest.mark.slow
def test_a_range_that_was_never_seen_rounds_nothing(parts):
    layer = parts["features"].layers[1]
    assert isinstance(layer, FakeQuantize)
    rounding = Rounding(parts, {path: 0.0 for path in by_path(parts)}, trained=True)
    assert rounding(layer, tf.constant([0.123])).numpy() == pytest.approx([0.123])
