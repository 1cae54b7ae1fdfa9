import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError, ModelFileError, SpecError
from frcnn_core.plugin.int8 import CalibrationImages
from frcnn_core.plugin.options import parse
from frcnn_core.quantization import quantize, quantizers
from frcnn_core.testing.exporter import small_model
from frcnn_onnx.int8.range_files import read_cache
from frcnn_trt_onnx import TrtOnnx
from frcnn_trt_onnx.build import build
from frcnn_trt_onnx.options import TrtOnnxOptions
from tests.exporters.trt_onnx.plugins import PLUGINS

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200,
    rpn_nms_max_boxes=6,
    rpn_nms_overlap_threshold=0.75,
    object_confidence_thres=0.25,
    classifier_nms_max_boxes=10,
    classifier_nms_overlap_threshold=0.5,
)
LAST_PIXEL = np.array([63, 95, 63, 95], "float32")


def model_with(anchors):
    model = small_model()
    parts = model.detector.features, model.detector.rpn, model.detector.head
    detector = FasterRCNN(*parts, anchors=anchors, regression_scale=(10.0, 10.0, 5.0, 5.0))
    return dataclasses.replace(model, detector=detector)


@pytest.fixture(scope="module")
def model():
    """Two anchors a cell, of ratios whose order matters."""
    return model_with(Anchors(scales=(6.0,), ratios=(0.5, 2.0)))


@pytest.fixture(scope="module")
def proto(model):
    return build(model, SETTINGS, TrtOnnxOptions()).proto


def node_of(proto, name):
    (node,) = (node for node in proto.graph.node if node.name == name)
    return node


def attributes(node):
    return {given.name: onnx.helper.get_attribute_value(given) for given in node.attribute}


# The table of TAO's exported graph; the model has two classes, images of 64 x 96, and crops of 3.
TABLE = {
    "rpn_out_class/Sigmoid": ("Sigmoid", ["rpn_out_class"], ["sigmoid_output"], {}),
    "proposal": (
        "ProposalDynamic",
        ["sigmoid_output", "rpn_out_regress"],
        ["proposal_out"],
        {
            "input_height": 64,
            "input_width": 96,
            "rpn_stride": 16,
            "roi_min_size": 1.0,
            "nms_iou_threshold": 0.75,
            "pre_nms_top_n": 48,  # 4 x 6 cells of 2 anchors: fewer than the 200 of the settings
            "post_nms_top_n": 6,
            "anchor_sizes": [6.0],
            "anchor_ratios": [0.5, 2.0],
        },
    ),
    "CropAndResize_plugin": (
        "CropAndResizeDynamic",
        [None, "proposal_out"],  # the feature map, which has no name of its own
        ["crop"],
        {"crop_height": 3, "crop_width": 3},
    ),
    "NMS": (
        "NMSDynamic_TRT",
        ["prior_data", "loc_data", "conf_data"],
        ["nms_out", "nms_out_1"],
        {
            "shareLocation": 0,
            "varianceEncodedInTarget": 1,
            "backgroundLabelId": 2,
            "confidenceThreshold": 0.25,
            "nmsThreshold": 0.5,
            "topK": 6,
            "codeType": 1,
            "keepTopK": 10,
            "numClasses": 3,
            "inputOrder": [1, 2, 0],
            "confSigmoid": 0,
            "isNormalized": 1,
            "scoreBits": 0,
        },
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_nodes_are_those_of_the_original_graph(proto, name):
    node = node_of(proto, name)
    op, inputs, outputs, given = TABLE[name]
    assert (node.op_type, node.domain) == (op, "")
    assert list(node.output) == outputs
    assert attributes(node) == given
    assert [None if given.startswith("features/") else given for given in node.input] == inputs


def test_the_rpn_and_the_crops_see_one_feature_map(proto):
    (first,) = (n for n in proto.graph.node if n.name.startswith("rpn/rpn_conv1/Conv"))
    assert node_of(proto, "CropAndResize_plugin").input[0] == first.input[0]


def test_inputs_and_outputs_are_those_of_the_original_graph(proto):
    def described(tensors):
        return [
            (tensor.name, onnx.helper.printable_value_info(tensor).split("[")[1].rstrip("]"))
            for tensor in tensors
        ]

    assert described(proto.graph.input) == [("input_image", "FLOAT, Nx3x64x96")]
    assert described(proto.graph.output) == [
        ("nms_out", "FLOAT, Nx1x10x7"),
        ("nms_out_1", "INT32, Nx1x1x1"),
    ]
    assert [(used.domain, used.version) for used in proto.opset_import] == [("", 12)]


def test_everything_but_the_plugins_is_valid_onnx_of_that_opset(proto):
    """A plugin's place is taken by an Identity, so that the checker sees the others."""
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    stand_ins = []
    for node in rest.graph.node:
        if node.op_type in {plugin.__name__ for plugin in PLUGINS}:
            for output in list(node.output):
                stand_ins.append(onnx.helper.make_node("Identity", node.input[:1], [output]))
        else:
            stand_ins.append(node)
    del rest.graph.node[:]
    rest.graph.node.extend(stand_ins)
    onnx.checker.check_model(rest)


def test_weights_of_the_head_see_four_dimensions(proto):
    """The plugin's crops have five, which a Conv of two dimensions does not take."""
    (reshape,) = (node for node in proto.graph.node if "crop" in node.input)
    shape = next(one for one in proto.graph.initializer if one.name == reshape.input[1])
    assert (reshape.op_type, numpy_helper.to_array(shape).tolist()) == ("Reshape", [-1, 8, 3, 3])


def run(proto, images):
    evaluator = ReferenceEvaluator(proto, new_ops=PLUGINS)
    return evaluator.run(None, {"input_image": images.transpose(0, 3, 1, 2)})


def detections(model, images):
    sizes = np.full((len(images), 2), (64, 96), "float32")
    return model.detector.detect(images, sizes, SETTINGS)


def test_away_from_the_border_the_plugins_find_what_the_detector_finds(model, proto):
    images = np.random.default_rng(7).standard_normal((2, 64, 96, 3), "float32")
    expected = detections(model, images)
    assert np.all(expected.proposals <= LAST_PIXEL), "the plugins clip there, the detector at H, W"
    assert np.all(expected.boxes <= [64, 96, 64, 96])
    rows, counts = run(proto, images)
    assert counts.ravel().tolist() == expected.counts.numpy().tolist()
    assert counts.min() > 1
    found = np.arange(10) < counts.reshape(-1, 1)
    assert rows[:, 0, :, 0][found].tolist() == np.repeat([0, 1], counts.ravel()).tolist()
    np.testing.assert_array_equal(rows[:, 0, :, 1], expected.classes)
    scores = np.where(found, rows[:, 0, :, 2], 0)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    boxes = rows[:, 0][..., [4, 3, 6, 5]] * LAST_PIXEL
    np.testing.assert_allclose(boxes, expected.boxes, atol=1e-3)


def test_read_as_fractions_of_the_size_boxes_are_off_by_less_than_a_pixel(model, proto):
    """As DeepStream and TAO read them: times W, where the plugin has divided by W - 1."""
    images = np.random.default_rng(7).standard_normal((1, 64, 96, 3), "float32")
    rows, _ = run(proto, images)
    boxes = rows[:, 0][..., [4, 3, 6, 5]] * np.array([64, 96, 64, 96])
    off = np.abs(boxes - detections(model, images).boxes)
    assert 0.5 < off.max() < 1.0


def test_a_batch_size_can_be_fixed(model):
    proto = build(model, SETTINGS, TrtOnnxOptions(static_batch_size=4)).proto
    dims = [
        tensor.type.tensor_type.shape.dim[0].dim_value
        for tensor in (*proto.graph.input, *proto.graph.output)
    ]
    assert dims == [4, 4, 4]


def test_frcnn_says_why_it_cannot_run_the_file(tmp_path):
    with pytest.raises(ModelFileError, match=r"plugin.*trtexec.*frcnn export onnx"):
        TrtOnnx().load(tmp_path / "model.trt_onnx")


def test_an_ending_in_onnx_stays_the_onnx_exporters(tmp_path):
    assert not TrtOnnx().recognises(tmp_path / "model.onnx")


def test_more_proposals_than_the_plugin_can_suppress_are_an_error(model):
    large = dataclasses.replace(model, preprocessing=Preprocessing(height=4096, width=4096))
    settings = dataclasses.replace(SETTINGS, rpn_pre_nms_top_n=70000)
    with pytest.raises(FrcnnError, match=r"rpn_pre_nms_top_N.*at most 65535.*70000"):
        build(large, settings, TrtOnnxOptions())


def test_int8_leaves_the_graph_alone_and_writes_a_calibration_cache_of_its_tensors(
    model, proto, tmp_path
):
    batch = np.random.default_rng(0).standard_normal((2, 64, 96, 3), "float32")
    images = CalibrationImages(lambda: iter([batch]), num_batches=1, source="noise")
    options = TrtOnnxOptions(data_type="int8", batches=1, batch_size=2, range_finder="minmax")
    written = TrtOnnx().export(
        model, tmp_path / "a.trt_onnx", settings=SETTINGS, options=options, images=images
    )
    assert written == list(TrtOnnx().writes(tmp_path / "a.trt_onnx", options))
    assert [path.name for path in written] == ["a.trt_onnx", "cal.bin"]
    graph = onnx.load(written[0]).graph
    assert [n.op_type for n in graph.node] == [n.op_type for n in proto.graph.node]
    ranges = read_cache(written[1])
    tensors = {name for node in graph.node for name in node.output} | {"input_image"}
    assert set(ranges) <= tensors
    # What enters each network, and what leaves the RPN.
    assert {"input_image", "crop", "rpn_out_class", "rpn_out_regress"} <= set(ranges)
    assert ranges["input_image"] == pytest.approx(np.abs(batch).max(), rel=0.02)


def test_a_model_trained_for_int8_needs_no_images_for_its_calibration_cache(model, tmp_path):
    parts = quantize(model.detector.parts)
    for layer in quantizers(parts):
        layer.range.assign(6.0)
        layer.counter.assign(1.0)
    trained = dataclasses.replace(
        model, detector=FasterRCNN(**parts, anchors=model.detector.anchors)
    )
    options = TrtOnnxOptions(data_type="int8")
    written = TrtOnnx().export(trained, tmp_path / "a.trt_onnx", settings=SETTINGS, options=options)
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(written[0]).graph.node}
    ranges = read_cache(written[1])
    assert {"input_image", "crop", "rpn_out_class", "rpn_out_regress"} <= set(ranges)
    assert list(ranges.values()) == pytest.approx([6.0] * len(ranges))


def test_deepstream_is_told_the_names_of_these_outputs(model, tmp_path):
    options = TrtOnnxOptions(gen_ds_config=True)
    written = TrtOnnx().export(model, tmp_path / "a.trt_onnx", settings=SETTINGS, options=options)
    assert written == list(TrtOnnx().writes(tmp_path / "a.trt_onnx", options))
    lines = (tmp_path / "config_infer_primary.txt").read_text().splitlines()
    assert {"onnx-file=a.trt_onnx", "output-blob-names=nms_out;nms_out_1"} <= set(lines)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("target_opset", 11), ("static_batch_size", 0), ("nms_score_bits", 11), ("keep_float", "a/b")],
)
def test_flags_out_of_range_are_told(flag, value):
    with pytest.raises(SpecError, match=f"{flag}: expected"):
        parse(TrtOnnxOptions, {flag: value}, where="frcnn export trt_onnx")
