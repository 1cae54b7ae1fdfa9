"""Weights by layer name from any file that has them, and what they need to mean the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import Format, Layers, archive, read_hdf5, read_keras, recognise
from frcnn_core.model_files.keras_files import read_note, write_hdf5
from frcnn_core.weights.origin import Origin


def read_weights(path: Path, key: str = "") -> Layers:
    """Arrays by layer name and variable name, from a model file of frcnn or of Keras.

    Args:
        path: ``.tlt`` of frcnn, Keras ``.keras``, ``.weights.h5``, ``.h5`` or ``.hdf5``; known by
            content, not by suffix.
        key: for an encrypted ``.tlt``.

    Raises:
        ModelFileError: it is missing, of another kind, damaged, or the key is wrong.
    """
    found = recognise(path)
    if found is Format.HDF5:
        return read_hdf5(path)
    if found is Format.KERAS:
        return read_keras(path)
    if found in (Format.ARCHIVE, Format.ENCRYPTED):
        return _by_layer(archive.read(path, key).weights)
    # The advice of other kinds is to use them as weights, or to start from something else.
    helpful = (Format.TLT, Format.TORCH, Format.SAFETENSORS, Format.DARKNET)
    advice = found.advice if found in helpful else ""
    raise ModelFileError(
        f"{path} is {found.value} and cannot be a start: that takes a model file of frcnn or "
        f"Keras weights (.hdf5, .h5, .keras). {advice}".rstrip()
    )


def read_origin(path: Path, key: str = "") -> Origin | None:
    """What the weights in a file need, where the file tells; arguments as ``read_weights``."""
    found = recognise(path)
    if found is Format.HDF5 and (note := read_note(path)):
        return Origin.from_dict(json.loads(note))
    if found in (Format.ARCHIVE, Format.ENCRYPTED):
        manifest = archive.read(path, key).manifest
        images = manifest["preprocessing"]
        return Origin(
            arch=manifest["arch"],
            source="frcnn",
            channel_order=images["channel_order"],
            means=tuple(images["means"]),
            scale=images["scale"],
        )
    return None


def write_weights(path: Path, layers: Layers, origin: Origin) -> None:
    """Write weights as Keras ``.h5``, with what they need."""
    write_hdf5(path, layers, json.dumps(origin.as_dict()))


def _by_layer(weights: Mapping[str, np.ndarray]) -> Layers:
    """``features/conv1/kernel`` as ``conv1`` and ``kernel``."""
    layers: Layers = {}
    for path, array in weights.items():
        _, layer, variable = path.rsplit("/", 2)
        layers.setdefault(layer, {})[variable] = array
    return layers
