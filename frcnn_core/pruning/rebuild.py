"""The same graphs with fewer channels, and of each weight what belongs to those that are left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras.src.models.functional import Functional

from frcnn_core.detector import graphs
from frcnn_core.errors import FrcnnError
from frcnn_core.pruning.channels import ChannelGroup, Channels

Keep = Mapping[ChannelGroup, Sequence[int] | np.ndarray]
"""The channels of each group that stay, ascending; a group that is missing stays whole."""

_NUMBER_OF_CHANNELS = {
    "Conv2D": "filters",
    "Dense": "units",
    "QuantizedConv2D": "filters",
    "QuantizedDense": "units",
}
"""What the config of a layer calls it."""


def rebuild(
    parts: Mapping[str, keras.Model],
    channels: Channels,
    keep: Keep,
    *,
    custom_layers: Mapping[str, type] | None = None,
) -> dict[str, keras.Model]:
    """New graphs with these channels only, and the weights that belong to them.

    They compute what the old ones would if nothing read the other channels.  Names, dtype
    policies, regularizers, frozen layers and statistics are as before; ``parts`` stay as they are.

    Args:
        parts: as ``find_channels`` saw them.
        channels: what it found.
        keep: see ``Keep``; indices may be any integers of Python or numpy.
        custom_layers: a plugin's own layer classes (``Backbone.custom_layers``).

    Raises:
        FrcnnError: ``keep`` leaves nothing of a group, or takes from one that has to stay whole, or
            does not fit the groups.
    """
    known = frozenset(channels.groups)
    kept = {group: _checked(group, indices, known) for group, indices in keep.items()}
    inputs, outputs = (
        {layer: positions(groups, kept) for layer, groups in some.items()}
        for some in (channels.inputs, channels.outputs)
    )
    rebuilt = {}
    for name, part in parts.items():
        config = json.loads(part.to_json())
        _shrink(config, name, inputs, outputs)
        smaller = rebuilt[name] = keras.models.model_from_json(
            json.dumps(config), custom_objects=dict(custom_layers or {})
        )
        pairs = zip(graphs.leaves(part, name), graphs.leaves(smaller, name), strict=True)
        for (path, before), (_, after) in pairs:
            for source, target in zip(before.variables, after.variables, strict=True):
                array = np.asarray(source)
                target.assign(_sliced(array, inputs.get(path), outputs.get(path)))
    return rebuilt


def positions(groups: Sequence[ChannelGroup], keep: Keep) -> np.ndarray:
    """Where the channels that stay are in a tensor, ascending.

    Args:
        groups: the tensor's, side by side, as in ``Channels.inputs``.
        keep: see ``Keep``.
    """
    found, first = [], 0
    for group in groups:
        found.append(first + np.asarray(keep.get(group, np.arange(group.size))))
        first += group.size
    return np.concatenate(found)


def _checked(
    group: ChannelGroup, given: Sequence[int] | np.ndarray, known: frozenset[ChannelGroup]
) -> np.ndarray:
    name = f"Channels of {', '.join(group.layers) or 'a group without layers'}"
    indices = np.asarray(given)
    if group not in known:
        raise FrcnnError(f"{name}: there is no such group in this network.")
    if not indices.size:
        raise FrcnnError(f"{name}: none would be left; at least one of {group.size} has to stay.")
    if (
        not np.issubdtype(indices.dtype, np.integer)
        or indices.ndim != 1
        or (np.diff(indices) <= 0).any()
        or indices[0] < 0
        or indices[-1] >= group.size
    ):
        raise FrcnnError(
            f"{name}: those that stay have to be integers from 0 to {group.size - 1} in ascending "
            f"order, not {indices.tolist()}."
        )
    if not group.prunable and len(indices) < group.size:
        raise FrcnnError(f"{name}: all of them have to stay, because {group.reason}.")
    return indices


def _shrink(
    model: dict, path: str, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> None:
    """Change a functional model's config in place, and those of the models in it."""
    for entry in model["config"]["layers"]:
        name = f"{path}/{entry['name']}"
        kind, config = entry["class_name"], entry["config"]
        if kind == Functional.__name__:
            _shrink(entry, name, inputs, outputs)
        elif kind == "InputLayer":
            _set_last(config["batch_shape"], inputs.get(name))
        elif kind == "Reshape":
            _set_last(config["target_shape"], outputs.get(name))
        elif kind in _NUMBER_OF_CHANNELS and name in outputs:
            config[_NUMBER_OF_CHANNELS[kind]] = len(outputs[name])
        if name in inputs:
            # The shapes that Keras would build it with are those of before.
            entry.pop("build_config", None)


def _set_last(shape: list[int | None], channels: np.ndarray | None) -> None:
    """Change the last side of a shape, unless it is left open."""
    if channels is not None and shape[-1] not in (None, -1):
        shape[-1] = len(channels)


def _sliced(array: np.ndarray, inputs: np.ndarray | None, outputs: np.ndarray | None) -> np.ndarray:
    """What is left of a layer's variable.

    Args:
        inputs: positions of the input channels that stay; None for a layer whose variables do not
            depend on them.
        outputs: the same for a layer that makes channels.
    """
    if inputs is None:
        return array
    if array.ndim == 1:  # a bias belongs to what is made, anything else to what comes in
        return array[inputs if outputs is None else outputs]
    array = array.take(inputs, axis=-2)
    return array if outputs is None else array.take(outputs, axis=-1)
