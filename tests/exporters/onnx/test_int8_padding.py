"""Padding becomes a convolution's or max pool's own where that is the same."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from frcnn_onnx.int8.padding import absorb

IMAGES = np.random.default_rng(0).normal(0, 1, (1, 1, 4, 5)).astype(np.float32)


def padded(pads, *, own=(0, 0, 0, 0), value=None, mode="constant", also_read=False):
    """A padding, a convolution of 2 x 2, and perhaps something else that reads the padding."""
    random = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array(np.array(pads, np.int64), "pads"),
        numpy_helper.from_array(random.normal(0, 1, (1, 1, 2, 2)).astype(np.float32), "kernel"),
    ]
    inputs = ["images", "pads"]
    if value is not None:
        constants.append(numpy_helper.from_array(np.array(value, np.float32), "value"))
        inputs.append("value")
    nodes = [
        helper.make_node("Pad", inputs, ["padded"], mode=mode),
        helper.make_node("Conv", ["padded", "kernel"], ["out"], pads=own),
    ]
    outputs = ["out"]
    if also_read:
        nodes.append(helper.make_node("Abs", ["padded"], ["abs"]))
        outputs.append("abs")
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, IMAGES.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def run(proto):
    return ReferenceEvaluator(proto).run(None, {"images": IMAGES})[0]


@pytest.mark.parametrize("value", [None, 0.0])
def test_zeros_around_height_and_width_become_the_convolutions(value):
    proto = padded([0, 0, 1, 2, 0, 0, 3, 0], own=(1, 0, 0, 1), value=value)
    expected = run(proto)
    absorb(proto.graph)
    assert [node.op_type for node in proto.graph.node] == ["Conv"]
    np.testing.assert_array_equal(run(proto), expected)


@pytest.mark.parametrize(
    "given",
    [
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 2.0},
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "mode": "edge"},
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "also_read": True},
        {"pads": [0, 0, -1, 0, 0, 0, 0, 0]},
        {"pads": [1, 0, 0, 0, 0, 0, 0, 0]},
    ],
    ids=["not zeros", "edges", "read by others", "a crop", "of the batch"],
)
def test_any_other_padding_stays(given):
    proto = padded(**given)
    before = proto.SerializeToString()
    absorb(proto.graph)
    assert proto.SerializeToString() == before


def pooled(before):
    """An operator, a padding and a max pool."""
    nodes = [
        helper.make_node(before, ["images"], ["before"]),
        helper.make_node("Pad", ["before", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["out"], kernel_shape=[3, 3]),
    ]
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, IMAGES.shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_a_max_pool_pads_itself_behind_a_relu_where_zeros_are_never_largest_alone():
    proto = pooled("Relu")
    expected = run(proto)
    absorb(proto.graph)
    assert [node.op_type for node in proto.graph.node] == ["Relu", "MaxPool"]
    np.testing.assert_array_equal(run(proto), expected)


@pytest.mark.slow
def test_the_zeros_before_a_max_pool_stay_where_numbers_may_be_negative():
    proto = pooled("Tanh")
    absorb(proto.graph)
    assert [node.op_type for node in proto.graph.node] == ["Tanh", "Pad", "MaxPool"]
