"""The graph that TAO exports: three networks, and three plugins of TensorRT between them.

Names, attributes and layouts are the original's, so that its tools and engines of its plugins take
it.  What differs is what the plugins have no say in:

* The head gets its crops through a Reshape to (N*R, C, S, S).  The original feeds it the plugin's
  five dimensions, which is no valid ONNX and which newer parsers of TensorRT refuse.
* ``pre_nms_top_n`` is at most the number of anchors: the plugin does not look where they end.

The plugins' arithmetic differs from ours in the pixel that the original adds to widths
(docs/deployment.md).

Sources: TAO 5.0, ``export/exporter.py`` and ``layers/NmsInputs.py``; the plugins
``proposalPlugin``, ``cropAndResizePlugin`` and ``nmsPlugin`` of TensorRT's open source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper

from frcnn_core.detector import MIN_SIDE, STRIDE, DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import Model
from frcnn_onnx import metadata, parts
from frcnn_onnx.graph import Graph, Tensor
from frcnn_trt_onnx.options import TrtOnnxOptions

IMAGES = "input_image"
OUTPUTS = ("nms_out", "nms_out_1")
RPN_OUTPUTS = ("rpn_out_class", "rpn_out_regress")
CROP = "crop"
"""What comes out of CropAndResizeDynamic, (N, R, C, S, S)."""

MOST_PROPOSALS = 65535
"""Boxes that the plugin ProposalDynamic can suppress."""


@dataclass(frozen=True)
class Built:
    """A detector in the original's graph."""

    proto: onnx.ModelProto
    renamed: Mapping[str, str]
    """The names here of tensors of the three networks, by those that ``parts.convert`` gives them,
    where these differ."""


def build(model: Model, settings: DetectionSettings, options: TrtOnnxOptions) -> Built:
    """The detector's graph, with its metadata.

    Raises:
        FrcnnError: the plugins cannot run such a model.
    """
    preprocessing, detector = model.preprocessing, model.detector
    if preprocessing.is_dynamic:
        raise FrcnnError(
            "TensorRT's plugins need a fixed input size, and the model's input_image_config has "
            "size_min. Export saved_model, or train with size_height_width."
        )
    height, width, channels = preprocessing.shape
    converted = parts.convert(
        detector.parts, height=height, width=width, opset=options.target_opset
    )
    graph = Graph("nms_inputs")
    (features,) = _include(graph, converted["features"], graph.tensor(IMAGES))
    made = _include(graph, converted["rpn"], features)
    renamed = {tensor.name: name for tensor, name in zip(made, RPN_OUTPUTS, strict=True)}
    rpn = [_rename(graph, old, name) for old, name in renamed.items()]
    scores = _node(graph, "Sigmoid", "rpn_out_class/Sigmoid", [rpn[0]], ["sigmoid_output"])
    rois = _proposals(graph, scores, rpn[1], model, settings)
    crops = _crops(graph, features, rois, detector.head.inputs[0].shape[1:])
    logits, deltas = _include(graph, converted["head"], crops)
    _detections(graph, logits, deltas, rois, model, settings, options)
    return Built(
        _model(
            graph, model, settings, options, [channels, cast("int", height), cast("int", width)]
        ),
        renamed,
    )


def _proposals(
    graph: Graph, scores: Tensor, deltas: Tensor, model: Model, settings: DetectionSettings
) -> Tensor:
    """RoIs (N, R, 4, 1) y1, x1, y2, x2 as fractions of the image's last pixel."""
    preprocessing, anchors = model.preprocessing, model.detector.anchors
    _, *cells, _ = model.detector.features.compute_output_shape((1, *preprocessing.shape))
    most = min(settings.rpn_pre_nms_top_n, int(np.prod(cells)) * anchors.per_cell)
    if most > MOST_PROPOSALS:
        raise FrcnnError(
            f"inference_config.rpn_pre_nms_top_N: TensorRT's plugin takes at most "
            f"{MOST_PROPOSALS}, and it is {settings.rpn_pre_nms_top_n}."
        )
    return _node(
        graph,
        "ProposalDynamic",
        "proposal",
        [scores, deltas],
        ["proposal_out"],
        input_height=preprocessing.height,
        input_width=preprocessing.width,
        rpn_stride=STRIDE,
        roi_min_size=MIN_SIDE,
        nms_iou_threshold=settings.rpn_nms_overlap_threshold,
        pre_nms_top_n=most,
        post_nms_top_n=settings.rpn_nms_max_boxes,
        anchor_sizes=[float(scale) for scale in anchors.scales],
        # As in the spec; the plugin takes the roots.
        anchor_ratios=[float(ratio) for ratio in anchors.ratios],
    )


def _crops(graph: Graph, features: Tensor, rois: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Crops (N*R, C, S, S) of the feature map.

    Args:
        shape: S, S and C.
    """
    side, _, depth = shape
    crop = _node(
        graph,
        "CropAndResizeDynamic",
        "CropAndResize_plugin",
        [features, rois],
        [CROP],
        crop_height=side,
        crop_width=side,
    )  # (N, R, C, S, S)
    return crop.reshape(-1, depth, side, side)


def _detections(
    graph: Graph,
    logits: Tensor,
    deltas: Tensor,
    rois: Tensor,
    model: Model,
    settings: DetectionSettings,
    options: TrtOnnxOptions,
) -> None:
    """The graph's outputs.

    Args:
        logits: (N*R, K+1), background last.
        deltas: (N*R, 4K).
    """
    num_rois, num_classes = settings.rpn_nms_max_boxes, model.detector.num_classes + 1
    corners = graph.add("Gather", rois, np.array([1, 0, 3, 2], np.int64), axis=2)  # x1, y1, x2, y2
    priors = corners.reshape(-1, 1, 4 * num_rois, 1)
    # The second channel is for variances, which varianceEncodedInTarget says to leave alone.
    _name(graph.add("Concat", priors, priors, axis=1), "prior_data")
    scale = np.tile(np.array(model.detector.regression_scale, np.float32), num_classes - 1)
    offsets = deltas / scale
    # Background has no box, and the plugin wants one.
    offsets = graph.add("Concat", offsets, offsets.slice(0, 4, axis=1), axis=1)  # (N*R, 4C)
    _name(offsets.reshape(-1, num_rois * num_classes * 4, 1, 1), "loc_data")
    scores = graph.add("Softmax", logits, axis=-1)
    _name(scores.reshape(-1, num_rois * num_classes, 1, 1), "conf_data")
    _node(
        graph,
        "NMSDynamic_TRT",
        "NMS",
        [graph.tensor(name) for name in ("prior_data", "loc_data", "conf_data")],
        list(OUTPUTS),
        shareLocation=0,
        varianceEncodedInTarget=1,
        backgroundLabelId=num_classes - 1,
        confidenceThreshold=settings.object_confidence_thres,
        nmsThreshold=settings.classifier_nms_overlap_threshold,
        topK=num_rois,
        codeType=1,  # centre and size
        keepTopK=settings.classifier_nms_max_boxes,
        numClasses=num_classes,
        inputOrder=[1, 2, 0],
        confSigmoid=0,
        isNormalized=1,
        scoreBits=options.nms_score_bits,
    )


def _include(graph: Graph, part: parts.Part, reads: Tensor) -> tuple[Tensor, ...]:
    graph.include(part.graph, reads=reads, as_input=part.input)
    return tuple(graph.tensor(name) for name in part.outputs)


def _node(
    graph: Graph, op: str, name: str, inputs: list[Tensor], outputs: list[str], **given: Any
) -> Tensor:
    """The first output of a node with a name of its own."""
    graph.add(op, *inputs, results=outputs, **given)
    graph.nodes[-1].name = name
    return graph.tensor(outputs[0])


def _name(tensor: Tensor, name: str) -> None:
    """Give the tensor that was made last the name that it has in the original."""
    graph = tensor.graph
    graph.nodes[-1].output[0] = name


def _rename(graph: Graph, old: str, name: str) -> Tensor:
    """A tensor that has another name from now on, wherever it is made or read."""
    for node in graph.nodes:
        for names in (node.input, node.output):
            names[:] = [name if one == old else one for one in names]
    return graph.tensor(name)


def _model(
    graph: Graph,
    model: Model,
    settings: DetectionSettings,
    options: TrtOnnxOptions,
    image: list[int],
) -> onnx.ModelProto:
    batch = options.static_batch_size if options.static_batch_size > 0 else "N"
    rows = settings.classifier_nms_max_boxes
    rows_shape, counts_shape = [batch, 1, rows, 7], [batch, 1, 1, 1]
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"frcnn {model.arch}",
            [helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, [batch, *image])],
            [
                helper.make_tensor_value_info(OUTPUTS[0], TensorProto.FLOAT, rows_shape),
                helper.make_tensor_value_info(OUTPUTS[1], TensorProto.INT32, counts_shape),
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", options.target_opset)],
        producer_name="frcnn",
        producer_version=version("frcnn"),
        doc_string=f"Faster R-CNN {model.arch}. Images: {model.preprocessing.describe()}.",
    )
    proto.ir_version = helper.find_min_ir_version_for(proto.opset_import)
    metadata.write(proto, metadata.of(model, settings, outputs="nms"))
    return proto
