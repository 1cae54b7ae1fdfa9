"""What TensorRT for RTX does on a machine without a GPU, for real."""

import numpy as np
import onnx
import pytest

from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_onnx import detection
from frcnn_onnx.graph import Graph
from frcnn_tensorrt import check, engine, float16, network
from frcnn_tensorrt.engine import Settings

pytest.importorskip(
    "tensorrt_rtx",
    reason="Nothing of TensorRT was tested for real: pip install 'frcnn[tensorrt_rtx]'",
)

AHEAD_OF_TIME = ("8.6", "8.9")
"""GPUs to build for without having them."""

PARTS = ("features", "rpn", "head")


@pytest.fixture(autouse=True)
def only_rtx(monkeypatch):
    """Also where TensorRT is installed beside it."""
    from frcnn_tensorrt import api

    monkeypatch.setattr(api, "PACKAGES", ("tensorrt_rtx",))
    api.load.cache_clear()
    yield
    api.load.cache_clear()


def part(proto, name):
    """The nodes of one part of the network as a model, with what rounds its tensors."""

    def is_inside(node):
        # What rounds tensors has no name, but a scale with that of the layer.
        named_by = node.input[1] if node.op_type.endswith("Linear") else node.name
        return named_by.startswith(f"{name}/")

    inside = [node for node in proto.graph.node if is_inside(node)]
    made = {tensor for node in inside for tensor in node.output}
    constants = {tensor.name for tensor in proto.graph.initializer}
    read = {tensor for node in inside for tensor in node.input if tensor} - made - constants
    elsewhere = {
        tensor for node in proto.graph.node if not is_inside(node) for tensor in node.input
    }
    inferred = onnx.shape_inference.infer_shapes(proto)
    return onnx.utils.Extractor(inferred).extract_model(sorted(read), sorted(made & elsewhere))


@pytest.fixture(scope="module")
def quantized_onnx():
    from frcnn_core.detector.settings import DetectionSettings
    from frcnn_core.plugin.int8 import CalibrationImages
    from frcnn_core.testing.exporter import small_model
    from frcnn_onnx.build import build
    from frcnn_onnx.options import OnnxOptions

    batch = np.random.default_rng(0).standard_normal((2, 64, 96, 3)).astype(np.float32)
    settings = DetectionSettings(
        rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
    )
    images = CalibrationImages(lambda: iter([batch]), 1, "noise")
    return build(small_model(), settings, OnnxOptions(data_type="int8"), images).proto


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_each_part_of_the_network_is_built_for_gpus_that_are_not_here(small_onnx, name, precision):
    proto = float16.convert(small_onnx) if precision == "fp16" else small_onnx
    settings = Settings(precision, most=4, compute_capabilities=AHEAD_OF_TIME)
    built = engine.build(_batches(part(proto, name)), settings, where=name)
    assert built.data[:4] == b"vtrt"
    assert built.ranges


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_each_part_of_a_quantized_network_is_built_too(quantized_onnx, name):
    model = _batches(part(quantized_onnx, name))
    assert float16.is_quantized(model)
    settings = Settings("int8", most=4, compute_capabilities=AHEAD_OF_TIME)
    assert engine.build(model, settings, where=name).data[:4] == b"vtrt"


def _batches(model):
    """The same for any number of images or crops: what was inferred names it differently."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def test_all_of_a_detector_parses_but_what_asks_for_a_driver(small_onnx):
    for proto in (small_onnx, float16.convert(small_onnx)):
        report = check.check(proto, "small.onnx")
        assert report.good, report.lines
        assert report.parser.startswith("TensorRT for RTX")


def test_all_of_a_quantized_detector_parses_too(quantized_onnx):
    report = check.check(quantized_onnx, "small.onnx")
    assert report.good, report.lines


def test_outputs_keep_their_fixed_shapes(small_onnx):
    rest = check.without(small_onnx, network.NEEDS_DRIVER)
    definition = network.parse(rest.SerializeToString(), where="small.onnx").definition
    shapes = {
        definition.get_output(i).name: tuple(definition.get_output(i).shape) for i in range(2)
    }
    assert shapes == {"NMS": (-1, 1, 10, 7), "NMS_1": (-1, 1, 1, 1)}


def test_more_boxes_than_its_topk_takes_are_sorted_in_pieces():
    graph = Graph("test")
    boxes = 2 * detection.MOST + 100
    best, _ = detection._best(graph.tensor("x"), boxes)
    graph.add("Identity", best, results=["y"])
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, number])
        for name, number in (("x", 10_000), ("y", boxes))
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "test", [x], [y], graph.initializers),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    settings = Settings(compute_capabilities=AHEAD_OF_TIME)
    assert engine.build(model, settings, where="a.onnx").data[:4] == b"vtrt"


def test_an_operator_that_it_does_not_know_is_told_with_its_node():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>
        g (float[1,4] x) => (float[1,4] y) { y = acme.Swirl(x) }"""
    )
    model.graph.node[0].name = "swirl"
    report = check.check(model, "a.onnx")
    assert not report.good
    assert any("swirl (Swirl)" in line for line in report.lines)


def test_bytes_that_are_no_model_are_told():
    with pytest.raises(ModelFileError, match=r"cannot parse a\.onnx:\n.*Failed to parse"):
        network.parse(b"garbage", where="a.onnx")


@pytest.mark.slow
def test_gpus_that_it_does_not_build_for_are_told_with_those_it_does(small_onnx):
    settings = Settings(compute_capabilities=("3.5",))
    with pytest.raises(FrcnnError, match=r"3\.5 is none .* choose from .*8\.6"):
        engine.build(small_onnx, settings, where="a.onnx")
