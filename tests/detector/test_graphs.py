"""Walking through small graphs whose order can be told by looking at them."""

import keras
import pytest
from keras import layers

from frcnn_core.detector.graphs import leaves, nodes


def graph_with_a_graph_in_it() -> keras.Model:
    inner_input = keras.Input((4,), name="inner_input")
    inner = keras.Model(inner_input, layers.Dense(3, name="dense")(inner_input), name="inner")
    inputs = keras.Input((4,), name="inputs")
    first = inner(inputs)
    second = layers.ReLU(name="relu")(first)
    return keras.Model(inputs, layers.Add(name="add")([first, second]), name="outer")


def test_calls_come_after_those_they_depend_on():
    names = [node.operation.name for node in nodes(graph_with_a_graph_in_it())]
    assert names == ["inner", "relu", "add"]


def test_a_layer_that_is_called_twice_comes_twice():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, name="dense")
    graph = keras.Model(inputs, dense(dense(inputs)))
    assert [node.operation.name for node in nodes(graph)] == ["dense", "dense"]


@pytest.mark.slow
def test_layers_of_inner_graphs_take_these_ones_place():
    paths = [path for path, _ in leaves(graph_with_a_graph_in_it(), "part")]
    assert paths == [
        "part/inputs",
        "part/inner/inner_input",
        "part/inner/dense",
        "part/relu",
        "part/add",
    ]
