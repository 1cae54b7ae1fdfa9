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

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import CalibrationImages, LayerCost
from frcnn_onnx import wiring
from frcnn_onnx.int8 import insertion
from frcnn_onnx.int8.calibration import feeds, session
from frcnn_onnx.int8.insertion import Unrounded
from frcnn_onnx.wiring import Wiring

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
    if proto.graph.input[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelFileError(
            f"{path} takes images as decoded, so the cost of its layers cannot be measured. "
            "Export it without --embed_preprocessing."
        )
    predictions = _predictions(proto.graph)
    running = session(_switched(proto, layers, predictions))

    started = time.monotonic()
    errors: list[list[float]] = []
    for given in islice(feeds(proto, images), NUM_IMAGES):
        if errors and time.monotonic() - started > SECONDS:
            break
        given |= {LAYER: _NONE} | _found_by_rpn(running, given, predictions)
        outputs = running.run(None, given)
        errors.append(
            [
                _change(running.run(None, given | {LAYER: np.array(i, np.int64)}), outputs)
                for i in range(len(layers))
            ]
        )
    costs = [
        LayerCost(layer, float(cost))
        for layer, cost in zip(layers, np.mean(errors, axis=0), strict=True)
    ]
    return sorted(costs, key=lambda cost: -cost.error)


def _found_by_rpn(
    running: onnxruntime.InferenceSession,
    given: Mapping[str, np.ndarray],
    predictions: Sequence[str],
) -> dict[str, np.ndarray]:
    """What the float RPN makes of an image, as the inputs that stand for it."""
    wanted = {tensor.name: tensor for tensor in running.get_inputs() if tensor.name not in given}
    numbers = [i for i in range(len(predictions)) if _given(i) in wanted]
    del wanted[LAYER]
    # It does not read these inputs, which have to be given all the same.
    size = len(next(iter(given.values())))
    anything = {
        name: np.zeros([size, *tensor.shape[1:]], np.float32) for name, tensor in wanted.items()
    }
    found = running.run([_output(i) for i in numbers], {**given, LAYER: _NONE, **anything})
    return dict(zip(map(_given, numbers), found, strict=True))


def _given(number: int) -> str:
    """The input that stands for a prediction of the RPN where the detection reads it."""
    return f"costs/given_{number}"


def _output(number: int) -> str:
    """The output that a prediction becomes."""
    return f"costs/output_{number}"


def _change(outputs: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """Root mean square of the difference over that of the reference, averaged over outputs."""
    shares = [
        np.sqrt(np.mean((one - other) ** 2) / max(np.mean(other**2), 1e-30))
        for one, other in zip(outputs, reference, strict=True)
    ]
    return float(np.mean(shares))


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
    proto: onnx.ModelProto, layers: Sequence[str], predictions: Sequence[str]
) -> onnx.ModelProto:
    """The float detector with an input ``LAYER``, the number of the layer whose inputs are rounded.

    Args:
        layers: by number; -1 is none of them.
        predictions: tensors that become its outputs, as they are without rounding.  Where the
            detection reads those of the RPN, it reads inputs instead.
    """
    values = {
        value.name: value for value in onnx.shape_inference.infer_shapes(proto).graph.value_info
    }
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    wires, unrounded = Wiring(graph), Unrounded(graph)
    inputs = {
        name: _given(i)
        for i, name in enumerate(predictions)
        if wiring.part_of(wires.makers[name]) == "rpn"
    }
    conditions = {layer: f"costs/is_{i}" for i, layer in enumerate(layers)}
    nodes = []
    for i, condition in enumerate(conditions.values()):
        number = numpy_helper.from_array(np.array(i, np.int64), f"{condition}/number")
        graph.initializer.append(number)
        nodes.append(helper.make_node("Equal", [LAYER, number.name], [condition]))
    for node in graph.node:
        fresh = onnx.NodeProto()
        fresh.CopyFrom(node)
        own = conditions.get(wiring.layer_of(node))
        for i, tensor in enumerate(node.input):
            if not wiring.part_of(node) and tensor in inputs:
                fresh.input[i] = inputs[tensor]
                continue
            fresh.input[i] = bare = unrounded(tensor)
            nodes += unrounded.take_new()
            # A pair rounds what is not rounded yet, so only one layer's inputs are.
            if own and bare != tensor and insertion.reads_pair(node, wires):
                fresh.input[i] = f"{own}/{tensor}"
                nodes.append(helper.make_node("Where", [own, tensor, bare], [fresh.input[i]]))
        nodes.append(fresh)
    for i, name in enumerate(predictions):
        bare = unrounded(name)
        nodes += [*unrounded.take_new(), helper.make_node("Identity", [bare], [_output(i)])]
    wiring.replace_nodes(graph, nodes)
    del graph.output[:]
    for i, name in enumerate(predictions):
        graph.output.add().CopyFrom(values[name])
        graph.output[-1].name = _output(i)
    graph.input.append(helper.make_tensor_value_info(LAYER, TensorProto.INT64, []))
    for name, given in inputs.items():
        graph.input.add().CopyFrom(values[name])
        graph.input[-1].name = given
    wiring.remove_unread(graph)
    return result
