import keras
import numpy as np
import pytest
import toy
from keras import layers

from frcnn_core.model_files.model import Model, with_precision
from frcnn_core.quantization import Quantization, quantization, quantize, quantizers, ranges


def small():
    x = keras.Input((4, 4, 3), name="images")
    y = layers.Conv2D(2, 1, activation="relu", name="conv")(x)
    return {"features": keras.Model(x, layers.Dense(3, name="dense")(y))}


def test_ranges_are_listed_by_the_layer_that_makes_the_tensor():
    parts = quantize(small())
    kernel = np.float32([[1, -2], [0.5, 0], [0, 0.25]]).reshape(1, 1, 3, 2)
    parts["features"].get_layer("conv").set_weights([kernel, np.float32([0, 1])])
    inputs = np.zeros((1, 4, 4, 3), "float32")
    inputs[0, 0, 0] = [-3, 0, 0]  # the convolution makes (-3, 6 + 1), then (0, 7)
    parts["features"](inputs, training=True)
    found = ranges(parts)
    assert found.tensors.keys() == {"features/images", "features/conv", "features/dense"}
    assert found.tensors["features/images"] == 3
    # -3 and -2 are on the grids of their ranges, as the largest there are.
    assert found.tensors["features/conv"] == pytest.approx(7, rel=1e-6)
    assert found.kernels.keys() == {"features/conv", "features/dense"}
    assert found.kernels["features/conv"] == 2


def test_kernels_have_as_many_ranges_as_output_channels_if_these_have_their_own():
    parts = quantize(small(), per_channel_weights=True)
    kernel = np.float32([[1, 0], [-4, 0], [0, 0]]).reshape(1, 1, 3, 2)
    parts["features"].get_layer("conv").kernel.assign(kernel)
    first, second = ranges(parts).kernels["features/conv"]
    assert first == 4
    assert 0 < second < 1e-6  # a scale that can be divided by


def test_a_tensor_that_was_never_seen_has_a_range_of_zero_and_one_of_zeros_a_tiny_one():
    parts = quantize(small())
    assert set(ranges(parts).tensors.values()) == {0.0}
    parts["features"](np.zeros((1, 4, 4, 3), "float32"), training=True)
    assert 0 < ranges(parts).tensors["features/images"] < 1e-6


@pytest.mark.slow
def test_a_detector_tells_how_it_was_quantized():
    detector = toy.detector()
    assert quantization(detector.parts) is None
    assert ranges(detector.parts).tensors == {} == ranges(detector.parts).kernels
    for per_channel in (False, True):
        parts = quantize(detector.parts, per_channel_weights=per_channel)
        assert quantization(parts) == Quantization(per_channel_weights=per_channel)


def test_layers_of_models_in_a_part_are_listed_with_their_path():
    (part,) = small().values()
    x = keras.Input((4, 4, 3), name="outside")
    inner = keras.Model(part.input, part.output, name="inner")
    parts = quantize({"features": keras.Model(x, inner(x))})
    assert ranges(parts).tensors.keys() == {
        "features/outside",
        "features/inner/conv",
        "features/inner/dense",
    }
    assert ranges(parts).kernels.keys() == {"features/inner/conv", "features/inner/dense"}


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_model_file_holds_ranges_and_counters(per_channel):
    model = toy.model()
    parts = quantize(model.detector.parts, per_channel_weights=per_channel)
    model.detector.features, model.detector.rpn, model.detector.head = parts.values()
    for number, layer in enumerate(quantizers(parts), start=1):
        layer.range.assign(number)
        layer.counter.assign(100 * number)
    content = model.to_archive()
    assert content.weights["features/conv0_act_qdq/range"] == 2
    again = Model.from_archive(content, precision="mixed_bfloat16").detector.parts
    assert ranges(again).tensors == ranges(parts).tensors
    assert quantization(again) == Quantization(per_channel_weights=per_channel)
    counters = [float(layer.counter.numpy()) for layer in quantizers(again)]
    assert counters == [100.0 * number for number in range(1, len(counters) + 1)]
    assert all(layer.compute_dtype == "bfloat16" for layer in quantizers(again))


@pytest.mark.slow
def test_another_precision_changes_nothing_else():
    (part,) = quantize(small(), per_channel_weights=True).values()
    mixed = keras.models.model_from_json(with_precision(part.to_json(), "mixed_float16"))
    assert mixed.get_layer("conv").per_channel
    assert mixed.get_layer("conv").kernel.dtype == "float32"
    assert mixed.get_layer("conv_qdq").range.dtype == "float32"
