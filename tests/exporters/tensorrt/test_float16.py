import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from frcnn_core.errors import FrcnnError
from frcnn_tensorrt import float16


def model(nodes, weights=(), output="y", kind=TensorProto.FLOAT):
    """A graph of x (1, 2) to one output (1, 2)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info(output, kind, [1, 2])],
        [numpy_helper.from_array(np.array(array), name) for name, array in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(proto, x):
    # ONNX Runtime computes float16 in float32 where a processor has nothing for it.
    return ReferenceEvaluator(proto).run(None, {"x": np.array(x, np.float32)})[0]


def test_the_network_rounds_to_float16_and_what_is_not_network_does_not():
    one = np.array([1.0, 1.0], np.float32)
    tiny = np.float32(2**-12)  # 1 + 2**-12 is 1 in float16, and not in float32
    weights = [("ones", one), ("tiny", one * tiny)]
    for name, expected in (("features/add", 1.0), ("detection/add", 1.0 + 2**-12)):
        nodes = [helper.make_node("Add", ["x", "tiny"], ["y"], name)]
        if name.startswith("detection"):
            nodes.insert(0, helper.make_node("Mul", ["x", "ones"], ["z"], "features/mul"))
            nodes[1].input[0] = "z"
        found = run(float16.convert(model(nodes, weights)), [[1.0, 1.0]])
        assert found.dtype == np.float32
        assert found.tolist() == [[expected, expected]]


def test_a_weight_that_network_and_boxes_share_is_there_in_both_types():
    nodes = [
        helper.make_node("Add", ["x", "w"], ["z"], "rpn/add"),
        helper.make_node("Sub", ["z", "w"], ["y"], "detection/sub"),
    ]
    converted = float16.convert(model(nodes, [("w", np.float32([0.1, 0.1]))]))
    types = {one.name: one.data_type for one in converted.graph.initializer}
    assert types == {"w": TensorProto.FLOAT, "w/float16": TensorProto.FLOAT16}


def test_whole_numbers_of_the_network_stay_what_they_are():
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], "head/reshape")]
    converted = float16.convert(model(nodes, [("shape", np.int64([1, 2]))]))
    assert [one.data_type for one in converted.graph.initializer] == [TensorProto.INT64]
    assert run(converted, [[1, 2]]).tolist() == [[1, 2]]


def test_weights_beyond_float16_are_cut_off_and_named(caplog):
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], "head/mul")]
    converted = float16.convert(model(nodes, [("w", np.float32([1e6, 1.0]))]))
    assert run(converted, [[1.0, 1.0]]).tolist() == [[65504.0, 1.0]]
    assert "w has weights up to 1e+06" in caplog.text


@pytest.mark.slow
def test_a_detector_finds_the_same_up_to_rounding(small_onnx):
    converted = float16.convert(small_onnx)
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)
    float_rows, half_rows = (
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"input_image": images})
        for proto in (small_onnx, converted)
    )
    assert float_rows[1].sum() > 0
    np.testing.assert_array_equal(half_rows[1], float_rows[1])
    np.testing.assert_allclose(half_rows[0], float_rows[0], atol=1e-3)
    assert not np.array_equal(half_rows[0], float_rows[0])
    kernels = [one for one in converted.graph.initializer if len(one.dims) == 4]
    assert {one.data_type for one in kernels} == {TensorProto.FLOAT16}


@pytest.mark.slow
def test_models_of_others_and_quantized_ones_are_refused():
    with pytest.raises(FrcnnError, match="not exported by frcnn"):
        float16.convert(model([helper.make_node("Relu", ["x"], ["y"], "relu")]))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "features/q"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"], "features/dq"),
    ]
    with pytest.raises(FrcnnError, match="quantized"):
        float16.convert(model(nodes, [("s", np.float32(0.1))]))
