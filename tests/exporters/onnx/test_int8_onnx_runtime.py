"""The form that ONNX Runtime's CPU kernels want: same numbers, and nothing left in float."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from processor import needs_exact_int8

from exporters.onnx import int8_toy
from exporters.onnx.test_int8_insertion import int8, run
from frcnn_onnx.int8.insertion import quantized
from frcnn_onnx.int8.onnx_runtime import fitted
from frcnn_onnx.wiring import Wiring


def test_codes_start_at_zero_for_what_a_relu_makes_through_a_max_pool_too():
    wires = Wiring(fitted(int8()).graph)
    zeros = {
        node.input[0]: wires.array(node.input[2])
        for node in wires.makers.values()
        if node.op_type == "QuantizeLinear"
    }
    assert zeros == {"images": 128, "one": 128, "sum": 128, "relu": 0, "pool": 0}
    assert {zero.dtype for zero in zeros.values()} == {np.dtype(np.uint8)}
    for node in wires.makers.values():
        if node.op_type == "DequantizeLinear" and (
            first := wires.made_by(node.input[0], "QuantizeLinear")
        ):
            assert node.input[2] == first.input[2]


@needs_exact_int8
def test_numbers_within_the_range_stay_and_those_beyond_it_end_at_twice_the_range():
    # The range of the ReLU is 4, and what it makes reaches from 0 to beyond that.
    before, after = int8(), fitted(int8())
    values = int8_toy.tensor(before, "relu", {"images": 3 * images()})
    assert values.max() > 4.1
    told = int8_toy.tensor(after, "relu/rounded", {"images": 3 * images()})
    kept = int8_toy.tensor(before, "relu/rounded", {"images": 3 * images()})
    inside = values < 4
    np.testing.assert_array_equal(told[inside], kept[inside])
    np.testing.assert_allclose(kept[~inside], 4)
    np.testing.assert_allclose(told[~inside], np.minimum(values[~inside], 8.03), atol=0.02)


def images():
    return np.random.default_rng(1).normal(0, 1, (2, 3, 4, 4)).astype(np.float32)


def test_a_graph_without_int8_is_not_changed():
    assert fitted(int8_toy.float_graph()) == int8_toy.float_graph()


def test_the_graph_that_is_given_stays_as_it_was():
    proto = int8()
    before = proto.SerializeToString()
    fitted(proto)
    assert proto.SerializeToString() == before
    assert run(proto) is not None


@pytest.mark.slow
def test_onnx_runtime_computes_the_convolutions_of_a_detector_in_int8(tmp_path):
    marked, paths = int8_toy.marked()
    ones = dict.fromkeys(paths.values(), 1.0)
    layers = int8_toy.layers(int8_toy.float_model())
    proto = quantized(marked, paths, ones, layers=layers, fuse=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(fitted(proto).SerializeToString(), options)
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    # Those of the RPN's outputs read int8 and make floating point.
    assert counts["QLinearConv"] == sum(node.op_type == "Conv" for node in proto.graph.node) - 2
    assert not {"FusedConv", "Relu", "Pad"} & set(counts)
