"""A whole detector in float, as one ONNX model of standard operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper

from frcnn_core.detector import DetectionSettings
from frcnn_core.model_files import Model
from frcnn_onnx import detection, metadata, parts
from frcnn_onnx.graph import Graph, Tensor
from frcnn_onnx.options import OnnxOptions

IMAGES = "input_image"
"""Input (N, C, H, W) float32, preprocessed; the documentation's name."""
SIZES = "image_sizes"
"""Input (N, 2) float32, with ``OnnxOptions.image_sizes``."""

_TYPES = {np.float32: TensorProto.FLOAT, np.int32: TensorProto.INT32}


def join(
    model: Model,
    graphs: Mapping[str, keras.Model],
    settings: DetectionSettings,
    options: OnnxOptions,
    mark: parts.Mark | None = None,
) -> onnx.ModelProto:
    """The float detector of ``graphs``, which are ``model``'s parts or copies with other layers.

    Args:
        mark: see ``parts.convert``.
    """
    preprocessing = model.preprocessing
    height, width, _ = preprocessing.shape
    # Embedded preprocessing tells them to the network.
    pads = options.embed_preprocessing and not preprocessing.resize
    if preprocessing.is_dynamic or pads:
        options = replace(options, image_sizes=True)
    converted = parts.convert(graphs, height=height, width=width, opset=options.opset, mark=mark)
    graph = Graph("detection")
    images = graph.tensor(IMAGES)
    maps = _include(graph, converted["features"], images)[0]
    num_rois = min(settings.rpn_nms_max_boxes, settings.rpn_pre_nms_top_n)
    size: Tensor | np.ndarray
    cells: Tensor | np.ndarray
    grid: Tensor | np.ndarray
    if preprocessing.is_dynamic:
        size, cells = (
            graph.add("Shape", tensor, start=2, end=4).cast(np.float32) for tensor in (images, maps)
        )
        grid = detection.anchor_grid(maps, model.detector.anchors)
    else:
        _, h, w, _ = model.detector.features.compute_output_shape((1, *preprocessing.shape))
        size, cells = np.array([height, width], np.float32), np.array([h, w], np.float32)
        grid = model.detector.anchors.over(h, w).numpy()
        num_rois = min(num_rois, len(grid))
    limits: Tensor | np.ndarray = detection.twice(size)
    if options.image_sizes:
        limits = graph.add("Tile", graph.tensor(SIZES), np.array([1, 2], np.int64)).unsqueeze(1)

    objectness, deltas = _include(graph, converted["rpn"], maps)
    rois = detection.proposals(
        graph,
        objectness,
        deltas,
        grid=grid,
        num_rois=num_rois,
        limits=limits,
        settings=settings,
    )
    crops = detection.crops(
        graph,
        maps,
        rois,
        num_rois=num_rois,
        size=size,
        cells=cells,
        side=model.detector.head.inputs[0].shape[1],
    )
    logits, refinements = _include(graph, converted["head"], crops)
    found = detection.detections(
        graph,
        logits,
        refinements,
        rois,
        num_rois=num_rois,
        num_classes=model.detector.num_classes,
        regression_scale=model.detector.regression_scale,
        limits=limits,
        settings=settings,
    )
    proto = _model(graph, model, found, size, options, settings)
    metadata.write(proto, metadata.of(model, settings, outputs=options.outputs))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _include(graph: Graph, part: parts.Part, reads: Tensor) -> tuple[Tensor, ...]:
    graph.include(part.graph, reads=reads, as_input=part.input)
    return tuple(graph.tensor(name) for name in part.outputs)


def _model(
    graph: Graph,
    model: Model,
    found: detection.Found,
    size: Tensor | np.ndarray,
    options: OnnxOptions,
    settings: DetectionSettings,
) -> onnx.ModelProto:
    """The model proto of a finished graph; inputs and outputs get their names and shapes."""
    batch = options.static_batch_size if options.static_batch_size > 0 else "N"
    preprocessing = model.preprocessing
    height, width, channels = preprocessing.shape
    rows = settings.classifier_nms_max_boxes
    if options.outputs == "nms":
        nms, counts = detection.nms_rows(graph, found, size=size)
        outputs = [
            (nms, "NMS", np.float32, [batch, 1, rows, 7]),
            (counts, "NMS_1", np.int32, [batch, 1, 1, 1]),
        ]
    else:
        outputs = [
            (found.boxes, "boxes", np.float32, [batch, rows, 4]),
            (found.scores, "scores", np.float32, [batch, rows]),
            (found.classes, "classes", np.int32, [batch, rows]),
            (found.counts, "counts", np.int32, [batch]),
        ]
    for tensor, name, _, _ in outputs:
        graph.add("Identity", tensor, results=[name])
    inputs = [(IMAGES, [batch, channels, height or "H", width or "W"])]
    if options.image_sizes:
        inputs.append((SIZES, [batch, 2]))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"frcnn {model.arch}",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs],
            [
                helper.make_tensor_value_info(name, _TYPES[dtype], dims)
                for _, name, dtype, dims in outputs
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", options.opset)],
        producer_name="frcnn",
        producer_version=version("frcnn"),
        doc_string=f"Faster R-CNN {model.arch}. Images: {preprocessing.describe()}.",
    )
    # The oldest that has the opset: runtimes refuse versions that they do not know.
    proto.ir_version = helper.find_min_ir_version_for(proto.opset_import)
    return proto
