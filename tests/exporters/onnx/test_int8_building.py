"""From a model to int8: what quantization-aware training rounds, ONNX rounds the same way."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from exporters.onnx import int8_toy
from frcnn_core.detector import folding
from frcnn_core.errors import FrcnnError
from frcnn_core.quantization import ranges
from frcnn_onnx import metadata
from frcnn_onnx.int8 import build_int8, kernels
from frcnn_onnx.options import OnnxOptions
from frcnn_onnx.wiring import Wiring

INT8 = OnnxOptions(data_type="int8")


@pytest.fixture(scope="module", params=[False, True], ids=["per tensor", "per channel"])
def trained(request):
    model = int8_toy.trained_model(per_channel=request.param)
    return model, *build_int8(model, int8_toy.SETTINGS, INT8, None)


@pytest.mark.slow
def test_a_trained_feature_map_is_tensorflows_but_for_single_steps(trained):
    model, proto, _ = trained
    images = next(int8_toy.noise(seed=5).batches())
    expected = np.asarray(folding.run(model.detector.features, images, training=False))
    (name,) = {node.input[0] for node in proto.graph.node if node.op_type == "RoiAlign"}
    found = int8_toy.tensor(proto, name, {"input_image": int8_toy.channels_first(images)})
    step = ranges(model.detector.parts).tensors["features/conv3_act"] / 127
    steps = np.abs(np.transpose(found, (0, 2, 3, 1)) - expected) / step
    assert np.abs(expected).max() > 20 * step
    # A value within rounding of a tie may go the other way, and take others with it.
    assert np.mean(steps < 0.01) > 0.99
    assert steps.max() < 2.5


def test_kernels_have_the_codes_that_training_rounded_them_to(trained):
    model, proto, _ = trained
    wires = Wiring(proto.graph)
    largest = kernels.largest_codes(model.detector.parts)
    layers = {layer.name: layer for layer in model.detector.features.layers}
    found = 0
    for node in proto.graph.node:
        part, _, layer = node.name.rpartition("/")[0].partition("/")
        if part != "features" or node.op_type != "Conv":
            continue
        codes = wires.array(wires.made_by(node.input[1], "DequantizeLinear").input[0])
        stored = np.asarray(layers[layer].kernel.value)
        limit = np.asarray(layers[layer].kernel_range())
        expected = np.transpose(np.rint(stored / (limit / np.float32(127))), (3, 2, 0, 1))
        # A normalization with a negative factor turns a channel's signs.
        signs = np.sign(np.sum(codes * expected, axis=(1, 2, 3), keepdims=True))
        np.testing.assert_array_equal(codes * signs, expected)
        assert largest[f"features/{layer}"].max() == 127
        found += 1
    assert found == 4


def test_trained_ranges_are_told_by_tensor(trained):
    model, _, told = trained
    by_layer = ranges(model.detector.parts).tensors
    assert told["input_image"] == by_layer["features/input_image"]
    assert set(by_layer.values()) == set(told.values())


def test_the_model_says_that_it_is_int8_and_gives_detections(trained):
    _, proto, _ = trained
    assert metadata.of_proto(proto, "").precision == "int8"
    rows, counts = int8_toy.run(proto, int8_toy.channels_first(next(int8_toy.noise().batches())))
    assert rows.shape == (2, 1, 5, 7) and counts.min() > 0


@pytest.mark.slow
def test_force_ptq_measures_the_ranges_of_a_trained_model_anew(trained):
    model, _, told = trained
    options = replace(INT8, force_ptq=True, range_finder="minmax")
    images = int8_toy.noise(seed=7)
    _, measured = build_int8(model, int8_toy.SETTINGS, options, images)
    assert measured.keys() == told.keys()
    largest = max(np.abs(batch).max() for batch in images.batches())
    assert measured["input_image"] == pytest.approx(largest)
    assert measured["input_image"] != pytest.approx(told["input_image"], rel=1e-3)


@pytest.mark.slow
def test_after_training_detections_are_close_to_those_in_floating_point():
    model = int8_toy.float_model()
    options = replace(INT8, range_finder="minmax", outputs="named")
    proto, _ = build_int8(model, int8_toy.SETTINGS, options, int8_toy.noise())
    counts = Counter(node.op_type for node in proto.graph.node)
    assert counts["DequantizeLinear"] > counts["QuantizeLinear"] > 8
    images = next(int8_toy.noise(seed=5).batches())
    expected = model.detector.detect(
        images, np.full((2, 2), images.shape[1], np.float32), int8_toy.SETTINGS
    )
    _, scores, _, _ = int8_toy.run(proto, int8_toy.channels_first(images))
    np.testing.assert_allclose(scores[:, 0], expected.scores[:, 0], atol=0.05)


@pytest.mark.slow
def test_kept_layers_have_the_kernels_that_the_model_has():
    model = int8_toy.float_model()
    options = replace(INT8, range_finder="minmax", keep_float=("rpn/rpn_conv1",))
    proto, _ = build_int8(model, int8_toy.SETTINGS, options, int8_toy.noise())
    wires = Wiring(proto.graph)
    (node,) = (node for node in proto.graph.node if node.name == "rpn/rpn_conv1/Conv")
    kernel = np.transpose(model.detector.rpn.get_layer("rpn_conv1").kernel, (3, 2, 0, 1))
    np.testing.assert_allclose(wires.array(node.input[1]), kernel, rtol=1e-6)


@pytest.mark.slow
def test_without_images_there_is_nothing_to_measure():
    with pytest.raises(FrcnnError, match="--cal_image_dir"):
        build_int8(int8_toy.float_model(), int8_toy.SETTINGS, INT8, None)
