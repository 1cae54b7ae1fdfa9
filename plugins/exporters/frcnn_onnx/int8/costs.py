"""What int8 costs in each layer of an exported detector.

One graph computes everything in floating point, and in each layer chooses by an input between the
tensors that it reads and these tensors rounded.  So all layers are measured in one session, one
layer at a time.  RoIs are those of the float detector throughout, or else a small change of a score
would count for what it does to their order.

Kernels are those of the int8 file on both sides: only what rounding of tensors costs is seen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from frcnn_core.components import LayerCost
from frcnn_core.errors import ModelFileError
from frcnn_core.int8 import CalibrationImages
from frcnn_onnx.int8 import insertion, wiring
from frcnn_onnx.int8.calibration import feeds, session
from frcnn_onnx.int8.insertion import Unrounded
from frcnn_onnx.int8.wiring import Wiring

NUM_IMAGES = 4
SECONDS = 60.0
"""No further image is begun after so long; the first one is always measured in every layer."""
LAYER = "costs/layer"
_NONE = np.array(-1, np.int64)


def layer_costs(path: Path, images: CalibrationImages) -> list[LayerCost]:
    """What int8 costs in each layer, the costliest first; nothing for a file without int8.

    A layer's cost is the root mean square of what the RPN's and the head's outputs change, divided
    by that of these outputs; of the RPN's logits and deltas and the head's, the mean of the four.
    At most ``NUM_IMAGES`` images are looked at, and one takes about as many runs of the float
    detector as there are layers.

    Args:
        path: an int8 model that frcnn exported, without embedded preprocessing.

    Raises:
        ModelFileError: it is no ONNX model, or takes images as decoded.
    """
    try:
        proto = onnx.load(path)
    except Exception as error:  # protobuf's and the file system's have no base of their own
        raise ModelFileError(f"{path} cannot be read as ONNX: {error}") from error
    layers = insertion.quantized_layers(proto.graph)
    if not layers:
        return []
    rois = _roi_tensors(proto.graph)
    if not rois or proto.graph.input[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelFileError(
            f"{path} is no detector that takes preprocessed images, so the cost of its layers "
            "cannot be measured. Export it without --embed_preprocessing."
        )
    finding = session(_switched(proto, layers, outputs=rois))
    measuring = session(_switched(proto, layers, outputs=_predictions(proto.graph), given=rois))

    started, errors = time.monotonic(), []
    for given in islice(feeds(proto, images), NUM_IMAGES):
        if errors and time.monotonic() - started > SECONDS:
            break
        given[LAYER] = _NONE
        given |= dict(zip(rois, _run(finding, given), strict=True))
        outputs = _run(measuring, given)
        errors.append(
            [
                _change(_run(measuring, given | {LAYER: np.array(i, np.int64)}), outputs)
                for i in range(len(layers))
            ]
        )
    costs = [
        LayerCost(layer, float(cost))
        for layer, cost in zip(layers, np.mean(errors, axis=0), strict=True)
    ]
    return sorted(costs, key=lambda cost: -cost.error)


def _run(running: onnxruntime.InferenceSession, given: Mapping[str, np.ndarray]) -> list:
    """All outputs, from those of the given tensors that are inputs."""
    return running.run(None, {tensor.name: given[tensor.name] for tensor in running.get_inputs()})


def _change(outputs: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """Root mean square of the difference over that of the reference, averaged over outputs."""
    shares = [
        np.sqrt(np.mean((one - other) ** 2) / max(np.mean(other**2), 1e-30))
        for one, other in zip(outputs, reference, strict=True)
    ]
    return float(np.mean(shares))


def _roi_tensors(graph: onnx.GraphProto) -> list[str]:
    """What the pooling of RoIs reads beside the feature map: RoIs, and of which image each is."""
    wires = Wiring(graph)
    return [
        tensor
        for node in graph.node
        if node.op_type == "RoiAlign"
        for tensor in node.input[1:]
        if tensor in wires.makers
    ]


def _predictions(graph: onnx.GraphProto) -> list[str]:
    """What the RPN and the head make and the detection around them reads."""
    wires = Wiring(graph)
    found = {
        tensor: None
        for node in graph.node
        if not wiring.part_of(node)
        for tensor in node.input
        if tensor in wires.makers and wiring.part_of(wires.makers[tensor]) in ("rpn", "head")
    }
    return list(found)


def _switched(
    proto: onnx.ModelProto, layers: list[str], *, outputs: list[str], given: Sequence[str] = ()
) -> onnx.ModelProto:
    """The float detector with an input ``LAYER``, the number of the layer whose inputs are rounded.

    Args:
        layers: by number; -1 is none of them.
        outputs: the tensors that it makes, as they are without rounding.
        given: tensors that become inputs.
    """
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(proto).graph.value_info
    }
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    wires, unrounded = Wiring(graph), Unrounded(graph)
    conditions = {layer: f"costs/is_{i}" for i, layer in enumerate(layers)}
    nodes = []
    for i, condition in enumerate(conditions.values()):
        number = numpy_helper.from_array(np.array(i, np.int64), f"{condition}/number")
        graph.initializer.append(number)
        nodes.append(helper.make_node("Equal", [LAYER, number.name], [condition]))
    for node in graph.node:
        inputs = [unrounded(tensor) for tensor in node.input]
        nodes += unrounded.take_new()
        condition = conditions.get(wiring.layer_of(node))
        # A pair rounds what is not rounded yet; its second half and a kernel's read no pair.
        if condition and insertion.reads_pair(node, wires):
            for i, tensor in enumerate(node.input):
                if tensor != inputs[i]:
                    chosen = f"{condition}/{tensor}"
                    nodes.append(
                        helper.make_node("Where", [condition, tensor, inputs[i]], [chosen])
                    )
                    inputs[i] = chosen
        fresh = onnx.NodeProto()
        fresh.CopyFrom(node)
        fresh.input[:] = inputs
        nodes.append(fresh)
    for i, name in enumerate(outputs):
        bare = unrounded(name)
        nodes += unrounded.take_new()
        nodes.append(helper.make_node("Identity", [bare], [f"costs/output_{i}"]))
    wiring.replace_nodes(
        graph, [node for node in nodes if not set(given).intersection(node.output)]
    )
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(f"costs/output_{i}", types[name], None)
        for i, name in enumerate(outputs)
    )
    graph.input.append(helper.make_tensor_value_info(LAYER, TensorProto.INT64, []))
    graph.input.extend(helper.make_tensor_value_info(name, types[name], None) for name in given)
    wiring.remove_unread(graph)
    return result
