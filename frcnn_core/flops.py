"""The arithmetic that a detector cannot avoid, counted layer by layer.

Floating-point operations of convolutions and dense layers, two for each multiplication; the rest
of a network is memory traffic.  Counted is what the mathematics asks for, whatever the program
does: nothing flows back below the first trainable variable, and a frozen kernel has no gradient.
Taps that fall on zero padding count, as is usual.

Shape letters are those of ``frcnn_core.components``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras

from frcnn_core.detector import FasterRCNN

MULTIPLYING = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
"""Layers whose kernel is used once for every position of their output."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one pass through a graph."""

    forward: int = 0
    backward: int = 0
    """Gradients of the inputs, where anything below learns, and of the kernels that learn."""


def work(graph: keras.Model, shape: tuple[int, ...], *, inputs_need_gradient: bool = False) -> Work:
    """What one pass through ``graph`` takes.

    Args:
        graph: a functional model with one input, each of its layers used once.
        shape: of the input, batch included.
        inputs_need_gradient: whether something that trains comes before the graph.
    """
    shapes = {id(graph.inputs[0]): shape}
    flows = {id(graph.inputs[0]): inputs_need_gradient}  # whether a gradient is asked for
    forward = backward = 0
    for layer in graph.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        sources = [id(tensor) for tensor in keras.tree.flatten(layer.input)]
        given = [shapes[source] for source in sources]
        answer = layer.compute_output_shape(given if len(given) > 1 else given[0])
        flow = any(flows[source] for source in sources)
        trains = bool(layer.trainable_variables)
        if isinstance(layer, MULTIPLYING):
            operations = 2 * math.prod(answer[:-1]) * math.prod(layer.kernel.shape)
            forward += operations
            backward += operations * (flow + trains)
        shapes[id(layer.output)] = answer
        flows[id(layer.output)] = flow or trains
    return Work(forward, backward)


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


def _parts(detector: FasterRCNN, images: tuple[int, ...], rois_per_image: int):
    """Stage -> graph and shape of its input."""
    feature_map = detector.features.compute_output_shape(images)
    rois = (images[0] * rois_per_image, *detector.head.inputs[0].shape[1:])
    return {
        "features": (detector.features, images),
        "RPN": (detector.rpn, feature_map),
        "RoI head": (detector.head, rois),
    }
