"""What int8 costs, layer by layer."""

import numpy as np
import onnx
import pytest

from exporters.onnx import int8_toy
from frcnn_core.errors import ModelFileError
from frcnn_core.plugin.int8 import Int8Options
from frcnn_onnx.int8 import calibration, costs, layer_costs
from frcnn_onnx.int8.calibration import calibrate
from frcnn_onnx.int8.insertion import quantized, quantized_layers
from frcnn_onnx.wiring import Wiring


def exported(folder, *, bad=()):
    """An int8 file; layers that make what ``bad`` names get a range that is much too narrow."""
    marked, paths = int8_toy.marked()
    ranges = calibrate(marked, paths, int8_toy.noise(), Int8Options(range_finder="minmax"))
    ranges |= {path: ranges[path] / 50 for path in bad}
    layers = int8_toy.layers(int8_toy.float_model())
    proto = quantized(marked, paths, ranges, layers=layers, fuse=True)
    onnx.save(proto, folder / "int8.onnx")
    return folder / "int8.onnx", proto


@pytest.mark.slow
def test_every_layer_in_int8_has_a_cost_and_the_first_is_the_costliest(tmp_path):
    path, proto = exported(tmp_path)
    found = layer_costs(path, int8_toy.noise())
    assert {cost.layer for cost in found} == set(quantized_layers(proto.graph))
    errors = [cost.error for cost in found]
    assert errors == sorted(errors, reverse=True)
    assert all(0 < error < 0.1 for error in errors)


@pytest.mark.slow
def test_the_layer_that_reads_a_tensor_of_a_bad_range_is_the_costliest(tmp_path):
    path, _ = exported(tmp_path, bad=["features/conv1_act"])
    first, second, *_ = layer_costs(path, int8_toy.noise())
    assert first.layer == "features/conv2"
    assert first.error > 5 * second.error


def test_a_float_file_has_no_costs_and_what_is_no_model_is_told(tmp_path):
    onnx.save(int8_toy.float_graph(), tmp_path / "float.onnx")
    assert layer_costs(tmp_path / "float.onnx", int8_toy.noise()) == []
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelFileError, match="cannot be read as ONNX"):
        layer_costs(tmp_path / "text.onnx", int8_toy.noise())


def test_a_layer_alone_in_int8_changes_what_rounding_its_inputs_by_hand_does(tmp_path):
    _, proto = exported(tmp_path)
    layers, predictions = quantized_layers(proto.graph), costs._predictions(proto.graph)
    assert [name.partition("/")[0] for name in predictions] == ["rpn", "rpn", "head", "head"]
    running = calibration.session(costs._switched(proto, layers, predictions))
    batch = int8_toy.channels_first(next(int8_toy.noise().batches())[:1])
    given = {"input_image": batch, costs.LAYER: np.array(layers.index("features/conv0"), np.int64)}
    given |= costs._found_by_rpn(running, {"input_image": batch}, predictions)
    alone = running.run(None, given)
    # That layer reads the images: rounding them beforehand is the same, with no layer in int8.
    scale = Wiring(proto.graph).array("features/input_image/scale")
    given["input_image"] = np.clip(np.rint(batch / scale), -128, 127) * scale
    given[costs.LAYER] = np.array(-1, np.int64)
    by_hand = running.run(None, given)
    for one, other in zip(alone, by_hand, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_what_the_rpn_rounds_does_not_move_the_proposals(tmp_path):
    _, proto = exported(tmp_path, bad=["rpn/rpn_conv1"])
    layers, predictions = quantized_layers(proto.graph), costs._predictions(proto.graph)
    running = calibration.session(costs._switched(proto, layers, predictions))
    given = {"input_image": int8_toy.channels_first(next(int8_toy.noise().batches())[:1])}
    given |= costs._found_by_rpn(running, given, predictions)
    float_outputs = running.run(None, given | {costs.LAYER: np.array(-1, np.int64)})
    number = layers.index("rpn/rpn_out_class")
    outputs = running.run(None, given | {costs.LAYER: np.array(number, np.int64)})
    assert np.abs(outputs[0] - float_outputs[0]).max() > 0.01
    for one, other in zip(outputs[1:], float_outputs[1:], strict=True):
        np.testing.assert_array_equal(one, other)
