"""A model without the channels that matter least."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches

import keras
from keras.src.models.functional import Functional

from frcnn_core.detector import FasterRCNN
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import Model
from frcnn_core.pruning.plan import Plan
from frcnn_core.pruning.rebuild import rebuild


def prune(
    model: Model,
    plan: Plan,
    threshold: float,
    *,
    custom_layers: Mapping[str, type] | None = None,
) -> Model:
    """A smaller model; ``model`` stays as it is.

    Layers with ``trainable=False`` lose channels as any others, as in the original, and stay
    frozen.  All that is no channel is as before, but for the progress of the training: a pruned
    model starts a new one.

    Args:
        plan: of the model's parts.
        threshold: see ``Plan.keep``.
        custom_layers: a plugin's own layer classes (``Backbone.custom_layers``).

    Raises:
        FrcnnError: the threshold is out of range.
    """
    plan.criterion.check_threshold(threshold)
    detector = model.detector
    parts = rebuild(
        detector.parts, plan.channels, plan.keep(threshold), custom_layers=custom_layers
    )
    pruned = replace(
        model,
        detector=FasterRCNN(
            **parts,
            anchors=detector.anchors,
            regression_scale=detector.regression_scale,
            dynamic_shape=detector.dynamic_shape,
        ),
        progress={},
    )
    event = {
        "event": "pruned",
        "threshold": threshold,
        "normalizer": plan.criterion.normalizer,
        "equalization": plan.criterion.equalization,
        "granularity": plan.criterion.granularity,
        "min_num_filters": plan.criterion.min_num_filters,
        "parameters_before": model.num_parameters,
        "parameters": pruned.num_parameters,
    }
    pruned.history = [*model.history, event]
    return pruned


def check_layer_names(parts: Mapping[str, keras.Model], names: Collection[str]) -> None:
    """Hold that each name is that of a layer, with its part (``features/conv1``) or without.

    Raises:
        FrcnnError: some are not, or are of input layers, which make no channels; tells of all, with
            the closest name of each.
    """
    known: dict[str, None] = {}
    inputs: dict[str, None] = {}
    for part, graph in parts.items():
        for path, layer in _layers(graph, part):
            kind = inputs if isinstance(layer, keras.layers.InputLayer) else known
            kind |= {path: None, layer.name: None}
    problems = []
    for name in names:
        if name in known:
            continue
        if name in inputs:
            problem = f"{name} is an input, which has no filters. Name a layer that makes channels."
        else:
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            problem = f"there is no layer {name!r}.{hint}"
        problems.append(f"excluded_layers: {problem}")
    if problems:
        problems.append("  frcnn model show MODEL lists the layers.")
        raise FrcnnError("\n".join(problems))


def _layers(graph: keras.Model, path: str) -> Iterator[tuple[str, keras.Layer]]:
    """Every layer by ``part/layer``, models in the model and what is in them."""
    for layer in graph.layers:
        name = f"{path}/{layer.name}"
        yield name, layer
        if type(layer) is Functional:
            yield from _layers(layer, name)
