import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from exporters.onnx.added_nodes import model_of
from frcnn_onnx.graph import Graph


def run(graph, result, **inputs):
    """What the tensor ``result`` is for the given inputs, by ONNX's own evaluator."""
    model = model_of(graph, [result], inputs)
    return ReferenceEvaluator(model).run(None, inputs)[0]


def floats(*values):
    return np.array(values, np.float32)


def test_operators_compute_what_they_say():
    graph = Graph("test")
    x, y = graph.tensor("x"), graph.tensor("y")
    given = {"x": floats(6, 8), "y": floats(2, 5)}
    np.testing.assert_allclose(run(graph, (x + y) * 0.5 - y / 4.0, **given), [3.5, 5.25])


def test_comparisons_make_booleans():
    graph = Graph("test")
    x = graph.tensor("x")
    result = run(graph, (x > 1.0) & (graph.tensor("y") > x), x=floats(0, 2, 3), y=floats(9, 9, 3))
    assert result.tolist() == [False, True, False]


def test_rearrangements_are_those_of_numpy():
    graph = Graph("test")
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensor = graph.tensor("x").transpose(0, 2, 1).reshape(0, -1).unsqueeze(1)
    np.testing.assert_array_equal(
        run(graph, tensor, x=x), x.transpose(0, 2, 1).reshape(2, 12)[:, None]
    )


def test_a_split_has_parts_of_size_one():
    graph = Graph("test")
    first, _, last = graph.tensor("x").split(3, axis=-1)
    assert run(graph, last - first, x=np.array([[1, 2, 4], [0, 0, 7]], "float32")).tolist() == [
        [3],
        [7],
    ]


def test_a_slice_is_half_open():
    graph = Graph("test")
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    sliced = graph.tensor("x").slice(1, 3, axis=1)
    np.testing.assert_array_equal(run(graph, sliced, x=x), x[:, 1:3])


def test_a_cast_to_whole_numbers():
    graph = Graph("test")
    result = run(graph, graph.tensor("x").cast(np.int32), x=floats(2.0, 3.0))
    assert result.dtype == np.int32


@pytest.mark.parametrize(
    "value, dtype",
    [(0.5, TensorProto.FLOAT), (2, TensorProto.INT64), (np.int32(2), TensorProto.INT32)],
)
def test_numbers_become_constants_of_a_type(value, dtype):
    graph = Graph("test")
    graph.add("Add", graph.tensor("x"), value)
    assert [tensor.data_type for tensor in graph.initializers] == [dtype]


def test_equal_constants_are_there_once():
    graph = Graph("test")
    x = graph.tensor("x")
    _ = (x + 1.0) * 1.0 - floats(1)  # () twice, and (1,)
    assert len(graph.initializers) == 2


def test_names_begin_with_that_of_the_graph_and_are_numbered():
    graph = Graph("detection")
    x = graph.tensor("x")
    assert [(x + 1.0).name, (x + 2.0).name] == ["detection/Add", "detection/Add_2"]


def test_an_input_that_is_left_out_has_no_name():
    graph = Graph("test")
    graph.add("Resize", graph.tensor("x"), None, floats(1, 2))
    assert graph.nodes[0].input[:2] == ["x", ""]


@pytest.mark.slow
def test_an_included_graph_reads_what_it_is_told():
    part = helper.make_graph(
        [helper.make_node("Mul", ["given", "two"], ["doubled"], "part/Mul")],
        "part",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(floats(2), "two")],
    )
    graph = Graph("test")
    graph.include(part, reads=graph.tensor("x") + 1.0, as_input="given")
    assert run(graph, graph.tensor("doubled"), x=floats(1, 2)).tolist() == [4, 6]
    assert part.node[0].input[0] == "given", "the part stays as it was"
