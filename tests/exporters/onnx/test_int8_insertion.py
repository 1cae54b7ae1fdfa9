"""The form of explicitly quantized graphs, and what stays in floating point."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from exporters.onnx import int8_toy
from frcnn_core.errors import FrcnnError
from frcnn_onnx.int8 import insertion, pairs
from frcnn_onnx.int8.insertion import quantized, quantized_layers
from frcnn_onnx.wiring import Wiring

LAYERS = {f"features/{name}" for name in ("images", "one", "sum", "relu", "pool", "two")}
PATHS = dict(enumerate(("features/images", "features/one", "features/sum", "features/relu"), 1))
RANGES = {"features/images": 2.0, "features/one": 8.0, "features/sum": 9.0, "features/relu": 4.0}


def small_marked():
    """images -> one -> sum with images -> ReLU -> max pool -> two; two has no range."""
    random = np.random.default_rng(0)

    def kernel(name):
        return numpy_helper.from_array(random.normal(0, 1, (3, 3, 1, 1)).astype(np.float32), name)

    constants = [kernel("features/one/kernel"), kernel("features/two/kernel")]
    constants.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    nodes = []

    def node(op, inputs, output, **given):
        nodes.append(helper.make_node(op, inputs, [output], f"features/{output}/{op}_7", **given))

    def mark(tensor, number):
        scale = f"scale{number}"
        constants.append(numpy_helper.from_array(np.array(number / 127, np.float32), scale))
        node("QuantizeLinear", [tensor, scale, "zero"], f"{tensor}_q")
        node("DequantizeLinear", [f"{tensor}_q", scale, "zero"], f"{tensor}_dq")

    mark("images", 1)
    node("Conv", ["images_dq", "features/one/kernel"], "one")
    mark("one", 2)
    node("Add", ["one_dq", "images_dq"], "sum")
    mark("sum", 3)
    node("Relu", ["sum_dq"], "relu")
    # tf2onnx moves the second half behind what hands on.
    scale = numpy_helper.from_array(np.array(4 / 127, np.float32), "scale4")
    constants.append(scale)
    node("QuantizeLinear", ["relu", "scale4", "zero"], "relu_q")
    node("MaxPool", ["relu_q"], "pool", kernel_shape=[2, 2], strides=[2, 2])
    node("DequantizeLinear", ["pool", "scale4", "zero"], "pool_dq")
    node("Conv", ["pool_dq", "features/two/kernel"], "two")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("two", TensorProto.FLOAT, ["N", 3, 2, 2])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def int8(**given):
    return quantized(small_marked(), PATHS, RANGES, layers=LAYERS, **given)


def images():
    return np.random.default_rng(1).normal(0, 1, (2, 3, 4, 4)).astype(np.float32)


def run(proto):
    return ReferenceEvaluator(proto).run(None, {"images": images()})[0]


def rounded(values, range):
    scale = np.float32(range) / np.float32(127)
    return np.clip(np.rint(values / scale), -128, 127) * scale


def by_hand(*, kernels=True, sum=True, keep=()):
    """The small graph in numpy."""
    constants = Wiring(small_marked().graph)

    def conv(x, name):
        kernel = constants.array(f"features/{name}/kernel")[:, :, 0, 0]
        if kernels and name not in keep:
            scale = np.abs(kernel).max(1, keepdims=True) / 127
            kernel = np.rint(kernel / scale) * scale
        return np.einsum("nchw,oc->nohw", x, kernel)

    x, image = rounded(images(), 2), images()
    total = rounded(conv(image if "one" in keep else x, "one"), 8) + x
    relu = np.maximum(rounded(total, 9) if sum else total, 0)
    relu = relu if "two" in keep else rounded(relu, 4)
    return conv(relu.reshape(2, 3, 2, 2, 2, 2).max((3, 5)), "two")


def test_a_quantized_graph_computes_what_rounding_by_hand_does():
    np.testing.assert_allclose(run(int8()), by_hand(), atol=1e-5)


def test_fusing_leaves_out_the_pair_that_only_a_relu_reads():
    fused = int8(fuse=True)
    np.testing.assert_allclose(run(fused), by_hand(sum=False), atol=1e-5)
    assert Wiring(fused.graph).makers["relu"].input[0] == "sum"


def test_fusing_leaves_out_the_pairs_of_what_the_rpn_makes():
    marked, paths = int8_toy.marked()
    ones = dict.fromkeys(paths.values(), 1.0)
    layers = int8_toy.layers(int8_toy.float_model())
    rounded = {}
    for fuse in (False, True):
        graph = quantized(marked, paths, ones, layers=layers, fuse=fuse).graph
        rounded[fuse] = {
            node.input[1].removesuffix("/scale")
            for node in graph.node
            if node.op_type == "QuantizeLinear"
        }
    assert rounded[False] - rounded[True] == {"rpn/rpn_out_class", "rpn/rpn_out_regress"}


@pytest.mark.parametrize("kept", ["one", "two"])
def test_a_layer_that_is_kept_reads_and_has_what_is_not_rounded(kept):
    proto = int8(keep_float=[f"features/{kept}"])
    np.testing.assert_allclose(run(proto), by_hand(keep=(kept,)), atol=1e-5)
    assert f"features/{kept}" not in quantized_layers(proto.graph)


def test_patterns_keep_all_layers_that_they_match():
    assert quantized_layers(int8(keep_float=["features/*"]).graph) == []
    left = quantized_layers(int8(keep_float=["*/one", "features/t?o"]).graph)
    assert left == ["features/sum", "features/relu"]


def test_a_pattern_that_matches_nothing_is_an_error_that_names_what_is_close():
    with pytest.raises(FrcnnError) as caught:
        int8(keep_float=["features/two", "features/summ", "nothing"])
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "keep_float: no layer in int8 is called features/summ; did you mean features/sum,"
    )
    assert second == "keep_float: no layer in int8 is called nothing."


def test_a_range_that_nobody_has_seen_does_not_round():
    never = RANGES | {"features/one": 0.0}
    proto = quantized(small_marked(), PATHS, never, layers=LAYERS)
    assert "one/rounded" not in Wiring(proto.graph).makers
    assert "images/rounded" in Wiring(proto.graph).makers


def test_nodes_are_named_after_their_layers():
    names = [node.name for node in int8().graph.node if node.op_type in ("Conv", "Add", "MaxPool")]
    assert names == [
        "features/one/Conv",
        "features/sum/Add",
        "features/pool/MaxPool",
        "features/two/Conv",
    ]


# Concatenations -------------------------------------------------------------------------------


def concatenated():
    """ReLU of the images and of twice the images, concatenated and pooled, as tf2onnx leaves it:
    the pair of the concatenation is in each branch."""
    constants = [
        numpy_helper.from_array(np.array(i / 127, np.float32), f"scale{i}") for i in (1, 2, 3)
    ]
    constants.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    constants.append(numpy_helper.from_array(np.eye(6, dtype=np.float32)[..., None, None], "eye"))
    nodes = [helper.make_node("Add", ["images", "images"], ["twice"], "features/twice/Add")]
    for number, (name, read) in enumerate((("one", "images"), ("two", "twice")), 1):
        nodes.append(helper.make_node("Relu", [read], [name], f"features/{name}/Relu"))
        for scale, tensor, made in (
            (f"scale{number}", name, f"{name}_dq"),
            ("scale3", f"{name}_dq", f"{name}_both"),
        ):
            nodes += [
                helper.make_node("QuantizeLinear", [tensor, scale, "zero"], [f"{made}/q"]),
                helper.make_node("DequantizeLinear", [f"{made}/q", scale, "zero"], [made]),
            ]
    nodes.append(
        helper.make_node(
            "Concat", ["one_both", "two_both"], ["both"], "features/both/Concat", axis=1
        )
    )
    nodes.append(helper.make_node("Conv", ["both", "eye"], ["out"], "features/conv/Conv"))
    graph = helper.make_graph(
        nodes,
        "concatenated",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 6, 4, 4])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_the_pair_of_a_concatenation_is_behind_it_and_its_branches_share_it_after_training():
    ranges = {"features/one": 2.0, "features/two": 3.0, "features/both": 6.0}
    paths, layers = dict(enumerate(ranges, 1)), {*ranges, "features/conv"}
    relu = np.maximum(images(), 0), np.maximum(2 * images(), 0)

    proto = quantized(concatenated(), paths, ranges, layers=layers)
    twice = np.concatenate([rounded(rounded(relu[0], 2), 6), rounded(rounded(relu[1], 3), 6)], 1)
    np.testing.assert_allclose(run(proto), twice, atol=1e-5)
    wires = Wiring(proto.graph)
    assert wires.readers["both"][0].op_type == "QuantizeLinear"
    assert quantized_layers(proto.graph) == ["features/both", "features/conv"]

    fused = quantized(concatenated(), paths, ranges, layers=layers, fuse=True)
    once = np.concatenate([rounded(relu[0], 6), rounded(relu[1], 6)], 1)
    np.testing.assert_allclose(run(fused), once, atol=1e-5)


# The form that TensorRT takes -----------------------------------------------------------------


def test_the_form_of_a_detector_is_the_one_that_tensorrt_takes():
    model = int8_toy.float_model()
    marked, paths = int8_toy.marked()
    proto = quantized(
        marked, paths, dict.fromkeys(paths.values(), 1.0), layers=int8_toy.layers(model)
    )
    wires = Wiring(proto.graph)
    counts = Counter(node.op_type for node in proto.graph.node)
    assert counts["Conv"] >= 8 and counts["QuantizeLinear"] >= 10
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            assert wires.array(node.input[2]) == 0
            assert wires.array(node.input[2]).dtype == np.int8
            (reader,) = wires.readers[node.output[0]]
            assert reader.op_type == "DequantizeLinear"
            assert reader.input[1:] == node.input[1:]
        elif node.op_type == "Conv":
            kernel = wires.made_by(node.input[1], "DequantizeLinear")
            codes = wires.array(kernel.input[0])
            assert codes.dtype == np.int8 and np.abs(codes.astype(int)).max() == 127
            assert wires.array(kernel.input[1]).shape == codes.shape[:1]
            assert insertion.source(node.input[0], wires)
            assert all(name in wires.constants for name in node.input[2:])  # a bias is not rounded


def test_without_its_markers_a_graph_is_the_float_one():
    stripped = pairs.stripped(int8_toy.marked()[0])
    assert not {node.op_type for node in stripped.graph.node} & set(pairs.HALVES)
    onnx.checker.check_model(stripped, full_check=True)
    expected = int8_toy.float_graph()
    batch = int8_toy.channels_first(next(int8_toy.noise().batches()))
    for one, other in zip(
        int8_toy.run(stripped, batch), int8_toy.run(expected, batch), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_ranges_are_told_by_the_names_of_the_float_graph():
    marked, paths = int8_toy.marked()
    ranges = {path: float(i) for i, path in enumerate(paths.values(), 1)}
    told = pairs.tensor_ranges(marked, paths, ranges)
    graph = int8_toy.float_graph().graph
    names = {name for node in graph.node for name in node.output} | {"input_image"}
    assert set(told) <= names
    assert told["input_image"] == ranges["features/input_image"]
    assert set(told.values()) == set(ranges.values())
