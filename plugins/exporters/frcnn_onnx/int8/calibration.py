"""Measures ranges: runs the float detector on images and looks at every tensor int8 will have.

The whole detector runs, so the RoIs are pooled where it finds proposals.  Largest values and
histograms are computed within the graph, image by image, and nothing but them leaves it: memory is
that of the detector and of one tensor more, whatever the number of images.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from frcnn_core.errors import FrcnnError
from frcnn_core.plugin import CalibrationImages, Int8Options
from frcnn_onnx import wiring
from frcnn_onnx.int8 import pairs, range_finders
from frcnn_onnx.int8.range_finders import BINS

logger = logging.getLogger(__name__)


def calibrate(
    marked: onnx.ModelProto,
    paths: Mapping[int, str],
    images: CalibrationImages,
    options: Int8Options,
) -> dict[str, float]:
    """The range of what each layer makes, by ``part/layer``.

    Images are gone through once for minmax and twice otherwise.  A tensor that was 0 everywhere has
    a range of 0.

    Args:
        marked: a whole detector with markers, which takes preprocessed images.
        paths: ``Markers.paths``.
        options: its range finder.

    Raises:
        FrcnnError: there are no images, or a tensor has values that are no finite numbers.
    """
    tensors: dict[str, list[str]] = {}
    for tensor in pairs.marked_tensors(marked, paths):
        tensors.setdefault(tensor.path, []).append(tensor.tensor)
    float_graph = pairs.stripped(marked)
    names = sorted({name for several in tensors.values() for name in several})
    logger.debug("Ranges of %d tensors are measured on %s.", len(names), images.source)

    largest = _largest(float_graph, names, images)
    if options.range_finder != "minmax":
        # Tensors of one layer share a range, hence the bins.
        ends = {path: max(largest[name] for name in several) for path, several in tensors.items()}
        bins = {name: ends[path] for path, several in tensors.items() for name in several}
        histograms = _histograms(float_graph, names, bins, images)
    ranges = {}
    for path, several in tensors.items():
        end = max(largest[name] for name in several)
        if options.range_finder == "minmax" or end == 0:
            ranges[path] = end
            continue
        histogram = np.sum([histograms[name] for name in several], axis=0)
        if options.range_finder == "percentile":
            ranges[path] = range_finders.percentile(histogram, end, options.percentile)
        else:
            ranges[path] = range_finders.entropy(histogram, end)
    return ranges


def feeds(proto: onnx.ModelProto, images: CalibrationImages) -> Iterator[dict[str, np.ndarray]]:
    """What a detector is given, for one image after the other.

    Where its batch is of a fixed size, that many at once; the last one is filled with the last
    image.
    """
    first, *others = proto.graph.input
    dims = first.type.tensor_type.shape.dim
    size = dims[0].dim_value or 1
    for batch in images.batches():
        batch = np.ascontiguousarray(np.transpose(np.asarray(batch, np.float32), (0, 3, 1, 2)))
        for start in range(0, len(batch), size):
            some = batch[start : start + size]
            some = np.concatenate([some, np.repeat(some[-1:], size - len(some), axis=0)])
            given = {first.name: some}
            for tensor in others:  # image_sizes: no part of an image is padding
                given[tensor.name] = np.tile(np.array(some.shape[2:], np.float32), (size, 1))
            yield given


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """One that runs on the CPU, so that results do not depend on the machine's other devices."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _largest(
    proto: onnx.ModelProto, names: Sequence[str], images: CalibrationImages
) -> dict[str, float]:
    """The largest absolute value of each tensor."""
    nodes = []
    for i, name in enumerate(names):
        nodes.append(helper.make_node("Abs", [name], [f"largest/{i}/abs"]))
        nodes.append(
            helper.make_node("ReduceMax", [f"largest/{i}/abs"], [f"largest/{i}"], keepdims=0)
        )
    reduced = _observing(proto, nodes, [], TensorProto.FLOAT)
    running, largest, outputs = session(reduced), np.zeros(len(names), np.float32), np.zeros(0)
    for given in feeds(proto, images):
        outputs = np.stack(running.run([f"largest/{i}" for i in range(len(names))], given))
        if not np.isfinite(outputs).all():
            bad = names[int(np.argmin(np.isfinite(outputs)))]
            raise FrcnnError(
                f"{bad} has values that are no finite numbers, so it has no range. "
                f"The images were {images.source}; does `frcnn evaluate` find anything with this "
                "model?"
            )
        largest = np.maximum(largest, outputs)
    if not len(outputs):
        raise FrcnnError(f"There are no images to calibrate int8 with in {images.source}.")
    return {name: float(value) for name, value in zip(names, largest, strict=True)}


def _histograms(
    proto: onnx.ModelProto,
    names: Sequence[str],
    ends: Mapping[str, float],
    images: CalibrationImages,
) -> dict[str, np.ndarray]:
    """(BINS,) counts of absolute values of each tensor.

    Args:
        ends: where a tensor's last bin ends; one with 0 has no histogram.
    """
    names = [name for name in names if ends[name] > 0]
    nodes, constants = (
        [],
        [
            numpy_helper.from_array(np.array(BINS - 1, np.float32), "histogram/last"),
            numpy_helper.from_array(np.array([-1], np.int64), "histogram/flat"),
            numpy_helper.from_array(np.array([1], np.int32), "histogram/one"),
            numpy_helper.from_array(np.zeros(BINS, np.int32), "histogram/none"),
        ],
    )
    for i, name in enumerate(names):
        at = f"histogram/{i}"
        constants.append(
            numpy_helper.from_array(np.array(BINS / ends[name], np.float32), f"{at}/bins_per_unit")
        )
        steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
            ("Abs", [name], "abs", {}),
            ("Mul", [f"{at}/abs", f"{at}/bins_per_unit"], "place", {}),
            ("Min", [f"{at}/place", "histogram/last"], "within", {}),
            ("Cast", [f"{at}/within"], "bin", {"to": TensorProto.INT32}),  # towards 0
            ("Reshape", [f"{at}/bin", "histogram/flat"], "bins", {}),
            ("Shape", [f"{at}/bins"], "count", {}),
            ("Expand", ["histogram/one", f"{at}/count"], "ones", {}),
        )
        for op, inputs, output, attributes in steps:
            nodes.append(helper.make_node(op, inputs, [f"{at}/{output}"], **attributes))
        inputs = ["histogram/none", f"{at}/bins", f"{at}/ones"]
        nodes.append(helper.make_node("ScatterElements", inputs, [at], reduction="add", axis=0))
    running = session(_observing(proto, nodes, constants, TensorProto.INT32))
    counts = np.zeros((len(names), BINS), np.int64)
    for given in feeds(proto, images):
        counts += np.stack(running.run([f"histogram/{i}" for i in range(len(names))], given))
    return dict(zip(names, counts, strict=True))


def _observing(
    proto: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    dtype: int,
) -> onnx.ModelProto:
    """The detector with other outputs: what the last nodes of their kind in ``nodes`` make."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    del graph.output[:]
    read = {name for node in nodes for name in node.input}
    for node in nodes:
        graph.output.extend(
            helper.make_tensor_value_info(name, dtype, None)
            for name in node.output
            if name not in read
        )
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    wiring.remove_unread(graph)
    return result
