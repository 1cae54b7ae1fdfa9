"""Weights by layer name in Keras's own files, read and written without building their models.

Three layouts, all HDF5:

* Keras 1 to 3, ``.h5`` and ``.hdf5``: a group per layer with its variables in the attribute
  ``weight_names``; in a full model these groups are under ``model_weights``;
* Keras 3, ``.weights.h5``: groups named after classes, each with a group ``vars`` that numbers the
  variables and has the layer's name as an attribute;
* Keras 3, ``.keras``: a zip with such a ``model.weights.h5``.

Source: ``keras/src/legacy/saving/legacy_h5_format.py`` and ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.files import whole

Layers = dict[str, dict[str, np.ndarray]]
"""Arrays by layer name and variable name; ``"0"``, ``"1"``... where a file only numbers them."""

_NOTE = "frcnn_note"


def read_keras(path: Path) -> Layers:
    """Weights of a Keras 3 ``.keras`` file.

    Raises:
        ModelFileError: it is damaged, or so old that it does not name its layers.
    """
    try:
        with zipfile.ZipFile(path) as file:
            content = io.BytesIO(file.read("model.weights.h5"))
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from error
    return _read_hdf5(content, path)


def read_hdf5(path: Path) -> Layers:
    """Weights of a ``.h5``, ``.hdf5`` or ``.weights.h5`` file, of a full model or weights alone.

    Raises:
        ModelFileError: it is damaged, holds no weights, or does not name its layers.
    """
    return _read_hdf5(path, path)


def write_hdf5(path: Path, layers: Layers, note: str = "") -> None:
    """Write weights as ``.h5`` of the first layout, which Keras loads ``by_name`` too.

    Args:
        note: any text to keep in the file; ``read_note`` returns it.

    Raises:
        FrcnnError: the file cannot be written.
    """
    with whole(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        if note:
            file.attrs[_NOTE] = note
        for name, arrays in layers.items():
            group = file.create_group(name)
            names = [f"{name}/{variable}:0" for variable in arrays]
            group.attrs["weight_names"] = [one.encode() for one in names]
            for one, array in zip(names, arrays.values(), strict=True):
                group[one] = array


def read_note(path: Path) -> str:
    """The text that ``write_hdf5`` kept in a file; empty where there is none."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get(_NOTE, ""))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from error


def read_epsilons(path: Path) -> dict[str, float]:
    """Epsilon of each normalization layer by name, from the config in a full model's file.

    Empty for weights alone, whose files have no config.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            config = file.read("config.json").decode()
    else:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config", "{}")
    return {
        layer["name"]: layer["epsilon"]
        for layer in _dictionaries(json.loads(config))
        if "name" in layer and "epsilon" in layer
    }


def _read_hdf5(source: Path | io.BytesIO, path: Path) -> Layers:
    try:
        with h5py.File(source, "r") as file:
            root = file.get("model_weights", file)
            if _attribute(root, "layer_names"):
                return _legacy(root, _wrapped_names(file))
            return _numbered(file)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from error


def _legacy(root: h5py.Group, wrapped: dict[str, str]) -> Layers:
    """Layers of the layout with ``weight_names``.

    A layer inside a wrapper or a nested model is indexed by its own name too, unless a layer of
    the outer model has that name.

    Args:
        root: the group of layer groups.
        wrapped: inner layer's name by wrapper's name.
    """
    layers: Layers = {}
    inner_layers: Layers = {}
    for name in _attribute(root, "layer_names"):
        group = root[name]
        inner: Layers = {}
        for weight in _attribute(group, "weight_names"):
            # 'kernel:0', 'conv1/kernel:0', 'conv1_1/kernel:0' (a graph scope), and for a nested
            # model 'block/inner/kernel' (Keras 3) or 'inner/kernel:0' (Keras 2).
            *scopes, variable = weight.split(":")[0].split("/")
            inside = "/".join(scopes[1:] if scopes[:1] == [name] else scopes)
            inner.setdefault(inside, {})[variable] = np.asarray(group[weight])
        if len(inner) == 1:
            (layers[name],) = inner.values()
            if name in wrapped:
                inner_layers.setdefault(wrapped[name], layers[name])
        for inside, arrays in inner.items():
            if inside:
                inner_layers.setdefault(inside.split("/")[-1], arrays)
    return inner_layers | layers


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of strings, which Keras cuts into ``name0``, ``name1``... when it passes 64 kB."""
    if name in group.attrs:
        values = list(group.attrs[name])
    else:
        values, i = [], 0
        while f"{name}{i}" in group.attrs:
            values.extend(group.attrs[f"{name}{i}"])
            i += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _wrapped_names(file: h5py.File) -> dict[str, str]:
    """What each wrapper (TimeDistributed) wraps; in Keras 2 files only the config tells."""
    config = file.attrs.get("model_config", "{}")
    return dict(_wrappers(json.loads(config)))


def _wrappers(config: Any) -> Iterator[tuple[str, str]]:
    for wrapper in _dictionaries(config):
        inner = wrapper.get("layer")
        if "name" in wrapper and isinstance(inner, dict) and "config" in inner:
            yield wrapper["name"], inner["config"].get("name", "")


def _dictionaries(config: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a config, however deep."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _dictionaries(value)


def _numbered(file: h5py.File) -> Layers:
    """Layers of the layout with ``vars`` groups."""
    layers: Layers = {}
    unnamed: list[str] = []

    def visit(path: str, group: h5py.Group | h5py.Dataset) -> None:
        owner, _, last = path.rpartition("/")
        if last != "vars" or not isinstance(group, h5py.Group) or path.startswith("optimizer"):
            return
        if not len(group):
            return
        if "name" not in group.attrs:
            unnamed.append(owner)
            return
        arrays = {i: np.asarray(group[i]) for i in sorted(group, key=int)}
        layers[str(group.attrs["name"])] = arrays
        wrapper = file.get(f"{owner.rpartition('/')[0]}/vars")
        if owner.endswith("/layer") and wrapper is not None and not len(wrapper):
            layers.setdefault(str(wrapper.attrs["name"]), arrays)

    file.visititems(visit)
    if not layers and unnamed:
        raise ModelFileError(
            "it does not name its layers, as an early Keras 3 wrote it; load it in a current "
            "Keras and save it again."
        )
    if not layers:
        raise ModelFileError("it holds no weights that Keras wrote.")
    return layers
