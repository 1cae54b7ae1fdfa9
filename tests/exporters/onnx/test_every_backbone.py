"""Each backbone of the documentation computes in ONNX Runtime what it computes in Keras.

Random weights do for that, where whole detectors would turn rounding into other detections: their
scores are nearly equal.  ``benchmarks/export_parity.py`` compares trained detectors.
"""

import gc

import keras
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw
from frcnn_core.plugin.discovery import installed
from frcnn_onnx.parts import convert

pytestmark = pytest.mark.slow

SMALLEST_OF_EACH = (
    *("resnet:10", "vgg:16", "googlenet", "mobilenet_v1", "mobilenet_v2", "darknet:19"),
    "efficientnet:b0",
)
OTHERS = (
    *("resnet:18", "resnet:34", "resnet:50", "resnet:101", "vgg:19", "darknet:53"),
    "efficientnet:b1",
)
HEIGHT, WIDTH = 96, 128


def parts_of(arch):
    """The three graphs, whose normalizations have statistics of any kind."""
    name, _, variant = arch.partition(":")
    keras.utils.set_random_seed(5)
    backbone = installed().backbones.get(name, where="arch")
    config = BackboneConfig(variant=variant, pool_size=2, options=backbone.Options())
    anchors = Anchors(scales=(16.0, 32.0), ratios=(1.0, 0.5))
    graphs = draw(backbone, config, channels=3, anchors_per_cell=anchors.per_cell, num_classes=3)
    random = np.random.default_rng(6)
    for graph in graphs:
        for layer in graph.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                size = layer.gamma.shape
                layer.gamma.assign(random.uniform(0.5, 1, size) * random.choice([-1, 1], size))
                layer.beta.assign(random.normal(0, 0.5, size))
                layer.moving_mean.assign(random.normal(0, 0.2, size))
                layer.moving_variance.assign(random.uniform(0.5, 2, size))
    return dict(zip(("features", "rpn", "head"), graphs, strict=True))


def in_onnx_runtime(part, inputs):
    """The part's outputs for (N, C, H, W)."""
    graph = helper.make_graph(
        part.graph.node,
        "part",
        [helper.make_tensor_value_info(part.input, TensorProto.FLOAT, inputs.shape)],
        [helper.make_empty_tensor_value_info(name) for name in part.outputs],
        part.graph.initializer,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(list(part.outputs), {part.input: inputs})


@pytest.mark.parametrize(
    "arch",
    [
        *SMALLEST_OF_EACH,
        *(pytest.param(arch, marks=pytest.mark.conformance) for arch in OTHERS),
    ],
)
def test_each_part_computes_what_keras_computes(arch):
    graphs = parts_of(arch)
    converted = convert(graphs, height=HEIGHT, width=WIDTH, opset=17)
    random = np.random.default_rng(7)
    for name, graph in graphs.items():
        shape = [2, *(size or 8 for size in graph.inputs[0].shape[1:])]
        if name == "features":
            shape = [2, HEIGHT, WIDTH, 3]
        inputs = random.standard_normal(shape, "float32")
        channels_first = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        found = in_onnx_runtime(converted[name], channels_first)
        expected = keras.tree.flatten(graph(inputs, training=False))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, map(np.asarray, expected), strict=True):
            assert theirs.std() > 0
            ours = ours.transpose(0, 2, 3, 1) if ours.ndim == 4 else ours
            np.testing.assert_allclose(ours / theirs.std(), theirs / theirs.std(), atol=1e-3)
    keras.backend.clear_session()
    gc.collect()  # graphs refer to themselves, and to their weights
