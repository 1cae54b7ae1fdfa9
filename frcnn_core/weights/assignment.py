"""Gives layers the weights of the same name, and tells what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frcnn_core.detector.quantized_layers import FakeQuantize
from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import Layers

if TYPE_CHECKING:
    import keras

# Keras 3 calls every convolution's kernel a kernel.
_OLD_NAMES = {"depthwise_kernel": "kernel"}

_NOT_THERE = "not in the file"


@dataclass(frozen=True)
class LayerStatus:
    """What happened to one layer of the model."""

    layer: str
    kind: str
    """Its class, e.g. ``Conv2D``."""
    status: str
    """``Yes``: loaded; ``No``: kept as it was; ``None``: it has no weights, or none that a file has
    to have."""
    reason: str = ""
    """Of a ``No``; of a ``Yes``, what was filled in."""


@dataclass(frozen=True)
class LoadReport:
    """What was loaded, for the user to read."""

    layers: tuple[LayerStatus, ...]
    unused: tuple[str, ...]
    """Layers of the file that no layer of the model is called like."""

    def count(self, status: str) -> int:
        return Counter(layer.status for layer in self.layers)[status]

    def summary(self) -> str:
        """One line."""
        loaded, kept = self.count("Yes"), self.count("No")
        return (
            f"Loaded the weights of {loaded} of {loaded + kept} layers; "
            f"{len(self.unused)} layers of the file have no counterpart."
        )

    def table(self) -> str:
        """The original's table, one layer a line, with the reason of each No."""
        rows = [f"{'Layer(Type):':<90}Status:", "=" * 99]
        for layer in self.layers:
            reason = f" ({layer.reason})" if layer.reason else ""
            rows.append(f"{f'{layer.layer} ({layer.kind})':<90}{layer.status}{reason}")
        return "\n".join(["=" * 99, *rows, "=" * 99, self.summary()])


def assign(
    models: Iterable[keras.Model],
    source: Layers,
    *,
    pretrained_name: Callable[[str], str] = lambda layer: layer,
) -> LoadReport:
    """Give every layer of ``models`` the weights of the layer of ``source`` of the same name.

    A layer whose arrays differ in number or shape keeps its own.  A bias that the file lacks is 0,
    and one that is 0 throughout is not missed where the model has none: the layer computes the
    same.

    Args:
        models: parts of a detector; layers of nested models count as theirs.
        source: as ``read_weights`` returns it.
        pretrained_name: what ``source`` calls a layer; ``Backbone.pretrained_name``.

    Raises:
        ModelFileError: not one layer could be loaded.
    """
    layers = [layer for model in models for layer in _leaves(model)]
    statuses = tuple(_assign(layer, source, pretrained_name(layer.name)) for layer in layers)
    wanted = {pretrained_name(layer.name) for layer in layers}
    report = LoadReport(statuses, tuple(name for name in source if name not in wanted))
    if not report.count("Yes"):
        raise ModelFileError(_nothing_loaded(report, source))
    return report


def _leaves(layer: keras.Layer) -> Iterator[keras.Layer]:
    """The layers that are no models themselves."""
    for inner in layer.layers:
        if hasattr(inner, "layers"):
            yield from _leaves(inner)
        else:
            yield inner


def _assign(layer: keras.Layer, source: Layers, name: str) -> LayerStatus:
    kind = type(layer).__name__
    variables = {variable.name: variable for variable in layer.weights}
    if not variables:
        return LayerStatus(layer.name, kind, "None")
    if name not in source:
        if isinstance(layer, FakeQuantize):  # it learns its range from the first batch on
            return LayerStatus(layer.name, kind, "None")
        return LayerStatus(layer.name, kind, "No", _NOT_THERE)
    arrays, filled = _fitting(source[name], variables)
    if len(arrays) != len(variables):
        reason = f"{len(arrays)} arrays in the file, {len(variables)} in the model"
        return LayerStatus(layer.name, kind, "No", reason + _about_bias(arrays, variables))
    pairs = list(zip(variables.items(), arrays, strict=True))
    for (variable_name, variable), array in pairs:
        if tuple(variable.shape) != array.shape:
            reason = f"{variable_name} is {array.shape} in the file, {tuple(variable.shape)} here"
            return LayerStatus(layer.name, kind, "No", reason)
    for (_, variable), array in pairs:
        variable.assign(array)
    return LayerStatus(layer.name, kind, "Yes", filled)


def _fitting(
    arrays: Mapping[str, np.ndarray], variables: Mapping[str, keras.Variable]
) -> tuple[list[np.ndarray], str]:
    """The arrays in the order of the variables, and what was filled in, in words."""
    names = list(variables)
    named = {_OLD_NAMES.get(name, name): array for name, array in arrays.items()}
    if not named.keys() & set(names):
        # The file only numbers them, in the order that Keras has.
        named = dict(zip([*names, "bias"], arrays.values(), strict=False))
    if named.keys() - set(names) == {"bias"} and not np.any(named["bias"]):
        del named["bias"]
    filled = ""
    if set(names) - named.keys() == {"bias"}:
        named["bias"], filled = np.zeros(variables["bias"].shape), "its bias is 0"
    if named.keys() == set(names):
        return [named[name] for name in names], filled
    return list(arrays.values()), ""


def _about_bias(arrays: list, variables: Mapping[str, keras.Variable]) -> str:
    only_a_bias_more = len(arrays) == len(variables) + 1 and "kernel" in variables
    return "; model_config.use_bias: True takes them" if only_a_bias_more else ""


def _nothing_loaded(report: LoadReport, source: Layers) -> str:
    kept = [row for row in report.layers if row.status == "No"]
    if first := next((row for row in kept if row.reason != _NOT_THERE), None):
        return f"No weights fit the model, e.g. {first.layer}: {first.reason}."
    return (
        "No layer of the weights file is called like one of the model, so nothing would be "
        f"loaded.\n  In the file: {', '.join(list(source)[:5])}...\n"
        f"  In the model: {', '.join(row.layer for row in kept[:5])}...\n"
        "  Is it of the same arch? Files of keras.applications, torchvision and Darknet have names "
        "of their own:\n  frcnn weights import FILE -a ARCH -o OUT.h5"
    )
