"""What a model file holds, in words and numbers: what ``frcnn model show`` tells.

A file is described even where the plugin that drew its model is missing: its layers then come from
their description in the file, without the shapes that only a graph knows.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core.assemble import provenance
from frcnn_core.assemble.evaluation import rois_per_image
from frcnn_core.data import Preprocessing
from frcnn_core.detector import Anchors, FasterRCNN, flops, graphs
from frcnn_core.detector.quantized_layers import FakeQuantize, QuantizedKernel
from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_core.model_files import PARTS, Provenance, archive, named_variables, provenance_in
from frcnn_core.plugin import Plugins

logger = logging.getLogger(__name__)

BITS = 8
"""Of everything that ``frcnn_core.detector.quantized_layers`` quantizes."""


@dataclass(frozen=True)
class LayerQuantization:
    """What of a layer is quantized; scales are ranges / 127."""

    what: str
    """``kernel`` or ``output``."""
    bits: int
    ranges: tuple[float, ...]
    """Largest absolute values: one, or one for each output channel of a kernel.  Empty where no
    training step has seen the output yet."""


@dataclass(frozen=True)
class LayerDescription:
    """One layer."""

    name: str
    """As ``part/layer``; what is in a model in a part, as ``part/model/layer``."""
    kind: str
    """Its class, e.g. ``Conv2D``."""
    output_shape: tuple[int | None, ...] | None
    """Of one image, or of one RoI, without the batch; None where it is not known."""
    parameters: int
    """Statistics included."""
    operations: int | None
    """Floating-point operations of a detection; None where they are not known."""
    frozen: bool
    """It has weights, and none of them trains."""
    frozen_statistics: bool
    """A batch normalization whose moving mean and variance stay."""
    regularizer: str
    """Of its kernel, e.g. ``L2 1e-05``; empty for none."""
    quantization: LayerQuantization | None


@dataclass(frozen=True)
class PartDescription:
    """One of the three graphs."""

    name: str
    layers: tuple[LayerDescription, ...]
    """In the order that data flows."""
    parameters: int
    trainable_parameters: int | None
    """None where it is not known."""
    operations: int | None
    """Floating-point operations of a detection; None where they are not known."""


@dataclass(frozen=True)
class ModelDescription:
    """All that a model file says."""

    arch: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    anchors: Anchors
    regression_scale: tuple[float, ...]
    """Factors of the head's targets dx, dy, dw, dh."""
    parts: tuple[PartDescription, ...]
    height: int
    width: int
    """Of the image in pixels that shapes and operations are of; the largest one, lying, where
    shapes are dynamic."""
    rois_per_image: int
    """In the same count: as many as the spec's ``inference_config`` lets through."""
    resumable: bool
    """Whether the optimizer's state is there, so that a training can go on."""
    progress: Mapping[str, Any]
    provenance: Provenance
    history: tuple[Mapping[str, Any], ...]
    """As ``Model.history``."""
    spec: str
    problems: tuple[str, ...]
    """What could not be found out, and why; each a sentence."""

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def operations(self) -> int | None:
        """Of a detection; None where they are not known of every part."""
        known = [part.operations for part in self.parts if part.operations is not None]
        return sum(known) if len(known) == len(self.parts) else None

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self) | {
            "preprocessing": self.preprocessing.as_dict(),
            "parameters": self.parameters,
            "operations": self.operations,
        }


def describe(path: Path, key: str, plugins: Plugins) -> ModelDescription:
    """What the model file at ``path`` holds.

    Raises:
        ModelFileError: it is no model file of ours, or cannot be read, or not with this key.
    """
    content = archive.read(path, key)
    manifest = content.manifest
    try:
        preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
        anchors = Anchors(**{name: tuple(v) for name, v in manifest["anchors"].items()})
        configs = {name: content.parts[name] for name in PARTS}
        facts = {
            "arch": manifest["arch"],
            "class_names": tuple(manifest["class_names"]),
            "regression_scale": tuple(manifest["regression_scale"]),
            "progress": manifest["progress"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} holds no usable detector: {error}") from error
    custom_layers, problems = _custom_layers(content, plugins, path)
    drawn = {}
    for name, config in configs.items():
        graph = _graph(name, config, content.weights, custom_layers, problems)
        if graph is not None:
            drawn[name] = graph
    height, width = preprocessing.largest_canvas
    rois = rois_per_image(content.spec)
    shapes, operations = {}, {}
    if len(drawn) == len(PARTS):
        images = (1, height, width, preprocessing.channels)
        detector = FasterRCNN(
            **drawn,
            anchors=anchors,
            regression_scale=facts["regression_scale"],
            dynamic_shape=preprocessing.is_dynamic,
        )
        try:
            shapes = _output_shapes(detector, images)
            operations = flops.of_layers(detector, images, rois_per_image=rois)
        except Exception as error:  # whatever a plugin's layer may raise
            logger.debug("Shapes are not known.", exc_info=True)
            problems.append(f"Shapes and operations are not known: {error}")
    counted = bool(operations)
    return ModelDescription(
        **facts,
        preprocessing=preprocessing,
        anchors=anchors,
        parts=tuple(
            _described(name, drawn[name], shapes, operations if counted else None)
            if name in drawn
            else _described_without_graph(name, json.loads(config), content.weights)
            for name, config in configs.items()
        ),
        height=height,
        width=width,
        rois_per_image=rois,
        resumable=bool(content.optimizer),
        provenance=provenance_in(manifest),
        history=tuple(manifest.get("history", ())),
        spec=content.spec,
        problems=tuple(problems),
    )


def _custom_layers(
    content: archive.Archive, plugins: Plugins, path: Path
) -> tuple[dict[str, type], list[str]]:
    """The layer classes of the plugin that drew the model, and why they are not there."""
    name = str(content.manifest["arch"]).partition(":")[0]
    try:
        component = provenance.backbone_of(name, provenance_in(content.manifest), plugins, path)
    except FrcnnError as error:
        return {}, [str(error)]
    return dict(component.custom_layers()), []


def _graph(
    name: str,
    config: str,
    weights: Mapping[str, np.ndarray],
    custom_layers: dict[str, type],
    problems: list[str],
) -> keras.Model | None:
    """A part with its weights; None, and a problem more, where it cannot be built."""
    try:
        graph = keras.models.model_from_json(config, custom_objects=custom_layers)
        for variable_name, variable in named_variables({name: graph}).items():
            if variable_name not in weights:
                raise ModelFileError(f"the weights {variable_name} are missing")
            variable.assign(weights[variable_name])
    except Exception as error:  # whatever Keras, or a plugin's layer, may raise
        logger.debug("%s cannot be built.", name, exc_info=True)
        reason = str(error).partition("\n")[0]
        problems.append(
            f"{name} cannot be built, so its layers are listed from the file, without shapes: "
            f"{reason}"
        )
        return None
    return graph


def _output_shapes(
    detector: FasterRCNN, images: tuple[int, ...]
) -> dict[str, tuple[int | None, ...]]:
    """What each layer makes of one image, or of one RoI, by ``part/layer``, without the batch."""
    found: dict[str, tuple[int | None, ...]] = {}
    (feature_map,) = _follow(detector.features, "features", [keras.KerasTensor(images)], found)
    _follow(detector.rpn, "rpn", [feature_map], found)
    rois = keras.KerasTensor((1, *detector.head.inputs[0].shape[1:]))
    _follow(detector.head, "head", [rois], found)
    return found


def _follow(
    graph: keras.Model,
    path: str,
    inputs: list[keras.KerasTensor],
    found: dict[str, tuple[int | None, ...]],
) -> list[keras.KerasTensor]:
    """The outputs of a graph, and in ``found`` those of its layers."""
    values = {}
    for tensor, given in zip(graph.inputs, inputs, strict=True):
        values[id(tensor)] = given
        found[f"{path}/{tensor._keras_history.operation.name}"] = tuple(given.shape[1:])
    for node in graphs.nodes(graph):
        args, kwargs = node.arguments.fill_in(values)
        name = f"{path}/{node.operation.name}"
        if type(node.operation) is Functional:
            made = _follow(node.operation, name, keras.tree.flatten(args), found)
        else:
            made = keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
        found[name] = tuple(made[0].shape[1:])
        values |= {id(t): result for t, result in zip(node.outputs, made, strict=True)}
    return [values[id(tensor)] for tensor in graph.outputs]


def _described(
    name: str,
    graph: keras.Model,
    shapes: Mapping[str, tuple[int | None, ...]],
    operations: Mapping[str, int] | None,
) -> PartDescription:
    layers = tuple(
        LayerDescription(
            name=path,
            kind=type(layer).__name__,
            output_shape=shapes.get(path),
            parameters=layer.count_params(),
            operations=None if operations is None else operations.get(path, 0),
            frozen=bool(layer.weights) and not layer.trainable,
            frozen_statistics=getattr(layer, "frozen_statistics", False),
            regularizer=_regularizer(
                keras.regularizers.serialize(getattr(layer, "kernel_regularizer", None))
            ),
            quantization=_quantization(layer),
        )
        for path, layer in graphs.leaves(graph, name)
    )
    return PartDescription(
        name=name,
        layers=layers,
        parameters=graph.count_params(),
        trainable_parameters=sum(math.prod(v.shape) for v in graph.trainable_weights),
        operations=None
        if operations is None
        else sum(operations.get(layer.name, 0) for layer in layers),
    )


def _quantization(layer: keras.Layer) -> LayerQuantization | None:
    if isinstance(layer, QuantizedKernel):
        ranges = np.ravel(layer.kernel_range()).tolist()
        return LayerQuantization("kernel", BITS, tuple(ranges))
    if isinstance(layer, FakeQuantize):
        seen = float(layer.counter.value) > 0
        return LayerQuantization("output", BITS, (float(layer.range.value),) if seen else ())
    return None


def _described_without_graph(
    name: str, config: dict[str, Any], weights: Mapping[str, np.ndarray]
) -> PartDescription:
    """From the file alone; a model in the part is one layer."""
    layers = []
    for entry in config["config"]["layers"]:
        given = entry["config"]
        path = f"{name}/{given['name']}"
        size = sum(
            array.size
            for variable, array in weights.items()
            if variable.startswith(f"{path}/") and "/seed_generator_state" not in variable
        )
        layers.append(
            LayerDescription(
                name=path,
                kind=entry["class_name"],
                output_shape=None,
                parameters=size,
                operations=None,
                frozen=bool(size) and not given.get("trainable", True),
                frozen_statistics=bool(given.get("frozen_statistics")),
                regularizer=_regularizer(given.get("kernel_regularizer")),
                quantization=None,
            )
        )
    return PartDescription(
        name=name,
        layers=tuple(layers),
        parameters=sum(layer.parameters for layer in layers),
        trainable_parameters=None,
        operations=None,
    )


def _regularizer(config: Mapping[str, Any] | None) -> str:
    """Of Keras's description of one, e.g. ``L2 1e-05``."""
    if not config:
        return ""
    numbers = [f"{value:g}" for value in config["config"].values() if value]
    return " ".join([config["class_name"], *numbers])
