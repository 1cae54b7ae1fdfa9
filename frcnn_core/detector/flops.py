"""The arithmetic that a detector cannot avoid, counted layer by layer.

Floating-point operations of convolutions and dense layers, two for each multiplication; the rest
of a network is memory traffic.  Counted is what the mathematics asks for, whatever the program
does: nothing flows back below the first trainable variable, and a frozen kernel has no gradient.
Taps that fall on zero padding count, as is usual.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import keras
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core.detector.faster_rcnn import FasterRCNN

MULTIPLYING = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
"""Layers whose kernel is used once for every position of their output."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one pass through a graph."""

    forward: int = 0
    backward: int = 0
    """Gradients of the inputs, where anything below learns, and of the kernels that learn."""

    def __add__(self, other: Work) -> Work:
        return Work(self.forward + other.forward, self.backward + other.backward)


def work(graph: keras.Model, shape: tuple[int, ...], *, inputs_need_gradient: bool = False) -> Work:
    """What one pass through ``graph`` takes.

    Args:
        graph: a functional model with one input.
        shape: of the input, batch included.
        inputs_need_gradient: whether something that trains comes before the graph.
    """
    return sum(_by_layer(graph, "", shape, inputs_need_gradient).values(), Work())


def of_training(
    detector: FasterRCNN, images: tuple[int, ...], *, rois_per_image: int
) -> dict[str, int]:
    """Operations of a training step by stage.

    Args:
        images: (B, H, W, C).
        rois_per_image: R.
    """
    learns = bool(detector.features.trainable_variables)
    done = {
        name: work(graph, shape, inputs_need_gradient=learns and name != "features")
        for name, (graph, shape) in _parts(detector, images, rois_per_image).items()
    }
    forward = {name: part.forward for name, part in done.items()}
    return {**forward, "backward": sum(part.backward for part in done.values())}


def of_detection(
    detector: FasterRCNN, images: tuple[int, ...], *, rois_per_image: int
) -> dict[str, int]:
    """Operations of a detection by stage; arguments as for ``of_training``, with P for R."""
    parts = _parts(detector, images, rois_per_image)
    return {name: work(graph, shape).forward for name, (graph, shape) in parts.items()}


def of_layers(
    detector: FasterRCNN, images: tuple[int, ...], *, rois_per_image: int
) -> dict[str, int]:
    """Operations of a detection by layer, as ``part/layer``, of those that multiply.

    Arguments are those of ``of_detection``.
    """
    found = {}
    for graph, shape in _parts(detector, images, rois_per_image).values():
        name = next(name for name, part in detector.parts.items() if part is graph)
        for path, done in _by_layer(graph, name, shape, False).items():
            found[path] = done.forward
    return found


def _parts(
    detector: FasterRCNN, images: tuple[int, ...], rois_per_image: int
) -> dict[str, tuple[keras.Model, tuple[int, ...]]]:
    """Stage -> graph and shape of its input."""
    feature_map = detector.features.compute_output_shape(images)
    rois = (images[0] * rois_per_image, *detector.head.inputs[0].shape[1:])
    return {
        "features": (detector.features, images),
        "RPN": (detector.rpn, feature_map),
        "RoI head": (detector.head, rois),
    }


def _by_layer(
    graph: keras.Model, name: str, shape: tuple[int, ...], inputs_need_gradient: bool
) -> dict[str, Work]:
    """What each layer takes that multiplies, all of its calls together, by path from ``name``."""
    (given,) = graph.inputs
    counter = _Counter()
    start = counter.mark(keras.KerasTensor(shape, given.dtype), inputs_need_gradient)
    counter.follow(graph, name, start)
    return counter.work


T = TypeVar("T")


class _Counter:
    """Follows shapes through a graph, call by call, also into the models in it."""

    def __init__(self) -> None:
        self.work: dict[str, Work] = {}
        self._flows: dict[int, tuple[keras.KerasTensor, bool]] = {}

    def mark(self, tensors: T, flow: bool) -> T:
        """Note whether a gradient is asked for; the tensors are kept, so their ids stay theirs."""
        for tensor in keras.tree.flatten(tensors):
            self._flows[id(tensor)] = tensor, flow
        return tensors

    def follow(self, graph: keras.Model, path: str, inputs: Any) -> Any:
        return graph._run_through_graph(
            inputs, operation_fn=lambda operation: partial(self._call, operation, path)
        )

    def _call(self, operation: keras.Operation, path: str, *args: Any, **kwargs: Any) -> Any:
        name = f"{path}/{operation.name}"
        given = [t for t in keras.tree.flatten((args, kwargs)) if id(t) in self._flows]
        flow = any(self._flows[id(tensor)][1] for tensor in given)
        if type(operation) is Functional:
            return self.follow(operation, name, *args)
        answers = operation.compute_output_spec(*args, **kwargs)
        trains = bool(getattr(operation, "trainable_variables", ()))
        if isinstance(operation, MULTIPLYING):
            operations = 2 * math.prod(answers.shape[:-1]) * math.prod(operation.kernel.shape)
            done = Work(operations, operations * (flow + trains))
            self.work[name] = self.work.get(name, Work()) + done
        return self.mark(answers, flow or trains)
