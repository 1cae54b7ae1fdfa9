"""Which device holds which layers: model parallelism.

The layers of features, RPN and head are put in the order that data flows, and that row is cut into
one piece for each device (``training_config.model_parallelism``).  A device holds the weights of
its layers, and what the optimizer keeps of them; it computes what they make, and the gradients.  So
what is kept of the forward pass for the backward pass is divided too.

Everything between the parts, such as targets, proposals and RoI pooling, belongs to the device of
the head's first layer: 256 crops of 7 x 7 cells are more than the map of 24 x 78 they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core.detector import graphs
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.errors import SpecError


def split(num_layers: int, fractions: Sequence[float]) -> list[int]:
    """Which device each layer of a row is on, by number.

    Args:
        num_layers: L.
        fractions: positive, one for each device; they need not add up to 1.

    Returns:
        L ascending numbers.  The pieces end at the cumulated fractions of L, rounded to the nearest
        whole layer, and a half to the even one.

    Raises:
        SpecError: a device would get no layer.

    Source: the documentation's "Model parallelism"; the rounding is the original's.
    """
    ends = np.round(np.cumsum(fractions) / np.sum(fractions) * num_layers).astype(int)
    counts = np.diff(ends, prepend=0)
    if not counts.all():
        raise SpecError(
            f"training_config.model_parallelism: {_listed(fractions)} divide {num_layers} layers "
            f"into {_listed(counts)}. Type larger fractions for devices that get none, or fewer."
        )
    return np.repeat(np.arange(len(counts)), counts).tolist()


def assign(
    parts: Mapping[str, keras.Model], fractions: Sequence[float], devices: Sequence[str]
) -> dict[str, str]:
    """The device of every layer, by ``part/layer``; inputs have none.

    Args:
        parts: functional models by name, in the order that data flows.
        fractions: as ``split`` takes them.
        devices: TensorFlow's names of as many devices, e.g. ``GPU:0``.

    Raises:
        SpecError: a device would get no layer.
    """
    paths = [path for name, part in parts.items() for path, _ in _operations(part, name)]
    chosen = split(len(paths), fractions)
    return {path: devices[index] for path, index in zip(paths, chosen, strict=True)}


def place(
    detector: FasterRCNN,
    device_of: Mapping[str, str],
    *,
    custom_layers: Mapping[str, type] | None = None,
) -> FasterRCNN:
    """The same detector with every layer and its variables on its device.

    Names, configs and values are as before, so model files do not show it.

    Args:
        detector: stays as it is; the result has variables of its own.
        device_of: as ``assign`` gives it.
        custom_layers: a plugin's own layer classes (``Backbone.custom_layers``).
    """
    parts = {}
    with keras.saving.custom_object_scope(dict(custom_layers or {})):
        for name, part in detector.parts.items():
            parts[name] = _clone(part, name, device_of)
    devices = {}
    for name, part in parts.items():
        before: dict[str, Any] = dict(_operations(detector.parts[name], name))
        for path, operation in _operations(part, name):
            devices[operation] = device_of[path]
            if isinstance(operation, keras.Layer):
                pairs = zip(before[path].variables, operation.variables, strict=True)
                for source, target in pairs:
                    target.assign(source)
    return FasterRCNN(
        **parts,
        anchors=detector.anchors,
        regression_scale=detector.regression_scale,
        dynamic_shape=detector.dynamic_shape,
        devices=devices,
    )


def gradients(objective: tf.Tensor, variables: Sequence[keras.Variable]) -> list[tf.Tensor | None]:
    """Gradients, each operation of the backward pass on the device of its forward one.

    Only inside a ``tf.function``.  A tape gives the backward pass no devices there, and TensorFlow
    then does most of it on the first.
    """
    values = [variable.value for variable in variables]
    found = tf.compat.v1.gradients(objective, values, colocate_gradients_with_ops=True)
    return _beside(variables, found)


def apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | None],
    variables: Sequence[keras.Variable],
) -> None:
    """``optimizer.apply``, each variable's arithmetic on the variable's device.

    Only inside a ``tf.function``.  The arithmetic has no devices of its own there: each gradient
    and what the optimizer keeps of it would go to the first device and back in every step.
    """
    # Keras brings all gradients together to add up those of the replicas of tf.distribute, of
    # which there is one.
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)
    inner._all_reduce_sum_gradients = list
    with tf.compat.v1.device(_device_of_inputs):
        optimizer.apply(_beside(variables, gradients), variables)


def _beside(
    variables: Sequence[keras.Variable], gradients: Sequence[tf.Tensor | None]
) -> list[tf.Tensor | None]:
    """Each gradient on the device of its variable."""
    moved = []
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            with tf.device(variable.value.device):
                gradient = tf.identity(gradient)
            gradient.set_shape(variable.shape)  # TensorFlow does not know it
        moved.append(gradient)
    return moved


def _device_of_inputs(operation: tf.Operation) -> str:
    """That of the variable an operation reads or moves, or else of its largest input."""
    variables = {_device(x) for x in operation.inputs if x.dtype == tf.resource}
    if variables:
        # An operation on variables of several devices is a branch, whose parts have their own.
        return variables.pop() if len(variables) == 1 else ""
    placed = [x for x in operation.inputs if _device(x)]
    return _device(max(placed, key=_num_elements)) if placed else ""


def _num_elements(tensor: tf.Tensor) -> float:
    """As far as they are known; a scalar's always are."""
    known = tensor.shape.num_elements()
    return math.inf if known is None else known


def _device(tensor: tf.Tensor) -> str:
    """Empty for one that has none."""
    if tensor.device or not tf.is_symbolic_tensor(tensor):
        return tensor.device
    if tensor.op.type == "ReadVariableOp":  # TensorFlow keeps these out of scopes
        return _device(tensor.op.inputs[0])
    outside = (outer for outer, inner in tensor.graph.captures if inner is tensor)
    return next(map(_device, outside), "")


def _clone(graph: keras.Model, path: str, device_of: Mapping[str, str]) -> keras.Model:
    """The graph drawn again, each variable made on the device of its layer."""
    places: dict[int, str] = {}

    def redraw(operation: keras.Operation) -> keras.Operation:
        own = f"{path}/{operation.name}"
        if type(operation) is Functional:
            return _clone(operation, own, device_of)
        copy = type(operation).from_config(operation.get_config())
        places[id(copy)] = device_of[own]
        return copy

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        # A layer makes its variables when it is first called.
        with tf.device(places.get(id(operation))):
            return operation(*args, **kwargs)

    return keras.models.clone_model(graph, clone_function=redraw, call_function=call)


def _operations(graph: keras.Model, path: str) -> Iterator[tuple[str, keras.Operation]]:
    """What a graph computes by ``part/layer``, once each, each after those it depends on.

    Models in the graph are replaced by what they compute.
    """
    done = set()
    for node in graphs.nodes(graph):
        operation = node.operation
        if operation in done:
            continue
        done.add(operation)
        if type(operation) is Functional:
            yield from _operations(operation, f"{path}/{operation.name}")
        else:
            yield f"{path}/{operation.name}", operation


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
