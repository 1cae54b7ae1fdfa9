from collections import Counter
from importlib.metadata import version

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from exporters.onnx.int8_toy import float_model
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.testing.exporter import HEIGHT, WIDTH, small_model
from frcnn_onnx import metadata
from frcnn_onnx.build import build
from frcnn_onnx.options import OnnxOptions

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def proto(model):
    return build(model, SETTINGS, OnnxOptions()).proto


def dims(tensor):
    return [dim.dim_value or dim.dim_param for dim in tensor.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_those_of_the_documentation(proto):
    assert {tensor.name: dims(tensor) for tensor in proto.graph.input} == {
        "input_image": ["N", 3, HEIGHT, WIDTH]
    }
    assert {tensor.name: dims(tensor) for tensor in proto.graph.output} == {
        "NMS": ["N", 1, 10, 7],
        "NMS_1": ["N", 1, 1, 1],
    }
    types = [tensor.type.tensor_type.elem_type for tensor in proto.graph.output]
    assert types == [TensorProto.FLOAT, TensorProto.INT32]


def test_named_outputs(model):
    options = OnnxOptions(outputs="named", image_sizes=True, static_batch_size=4)
    proto = build(model, SETTINGS, options).proto
    assert {tensor.name: dims(tensor) for tensor in proto.graph.input} == {
        "input_image": [4, 3, HEIGHT, WIDTH],
        "image_sizes": [4, 2],
    }
    assert {tensor.name: dims(tensor) for tensor in proto.graph.output} == {
        "boxes": [4, 10, 4],
        "scores": [4, 10],
        "classes": [4, 10],
        "counts": [4],
    }


def test_operators_are_standard_and_there_is_no_loop(proto):
    assert {node.domain for node in proto.graph.node} == {""}
    assert [opset.domain for opset in proto.opset_import] == [""]
    found = Counter(node.op_type for node in proto.graph.node)
    assert not found.keys() & {"Loop", "If", "Scan"}
    assert found["RoiAlign"] == 1 and found["NonMaxSuppression"] == 2


def test_names_of_nodes_and_tensors_are_unique_and_say_where_they_are(proto):
    nodes = [node.name for node in proto.graph.node]
    made = [name for node in proto.graph.node for name in node.output]
    assert len(set(nodes)) == len(nodes) and len(set(made)) == len(made)
    outputs = {tensor.name for tensor in proto.graph.output}
    parts = {name.split("/")[0] for name in {*nodes, *made} - outputs}
    assert parts == {"features", "rpn", "head", "detection"}
    assert "features/conv/Conv" in nodes


@pytest.mark.slow
def test_a_normalization_is_in_the_kernel_of_its_convolution():
    model = float_model()
    graph = build(model, SETTINGS, OnnxOptions()).proto.graph
    layers = {layer.name: layer for layer in model.detector.features.layers}
    name, norm = next(
        (before, layer)
        for before, layer in zip(layers, list(layers.values())[1:], strict=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    node = next(node for node in graph.node if node.name == f"features/{name}/Conv")
    kernel = next(tensor for tensor in graph.initializer if tensor.name == node.input[1])
    scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    expected = np.asarray(layers[name].kernel) * np.asarray(scale)
    np.testing.assert_allclose(
        numpy_helper.to_array(kernel), expected.transpose(3, 2, 0, 1), rtol=1e-5, atol=1e-7
    )
    of_part = {n.op_type for n in graph.node if n.name.startswith("features/")}
    assert not of_part & {"BatchNormalization", "Transpose"}


def test_it_says_what_it_is(model, proto):
    assert proto.producer_name == "frcnn" and proto.producer_version == version("frcnn")
    described = metadata.of_proto(proto, "the model")
    assert described.class_names == model.class_names
    assert described.preprocessing == model.preprocessing
    assert described.settings == SETTINGS
    assert described.outputs == "nms" and described.precision == "fp32"
    assert described.versions["onnx"] == onnx.__version__


def test_settings_are_fixed_in_the_graph(model):
    settings = DetectionSettings(rpn_nms_max_boxes=7, object_confidence_thres=0.25)
    proto = build(model, settings, OnnxOptions()).proto
    constants = [numpy_helper.to_array(tensor).tolist() for tensor in proto.graph.initializer]
    assert [7] in constants and [0.25] in constants


@pytest.mark.slow
@pytest.mark.parametrize("asked, written", [(12, 17), (17, 17), (18, 18)])
def test_the_opset_is_what_is_asked_for_and_at_least_17(model, asked, written):
    proto = build(model, SETTINGS, OnnxOptions(target_opset=asked)).proto
    assert proto.opset_import[0].version == written
    assert proto.ir_version == 8
