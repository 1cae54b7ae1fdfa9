"""Weights files of other libraries as single layers, in the memory layout of ours."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import (
    DarknetFile,
    Format,
    Layers,
    read_hdf5,
    read_keras,
    read_state_dict,
    recognise,
)
from frcnn_core.model_files.keras_files import read_epsilons
from frcnn_core.plugin import Images, ImportPlan, Unit


class Missing(Exception):
    """A file has nothing for a unit; the message says what was looked for."""


class Norm(NamedTuple):
    """A batch normalization's arrays, each (C,)."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Taken:
    """One unit of a file."""

    kernel: np.ndarray
    """(k, k, C, filters), depthwise (k, k, C, 1), or of a dense layer (inputs, units)."""
    filters: int
    """Output channels, or units."""
    bias: np.ndarray | None = None
    """(filters,)"""
    norm: Norm | None = None
    epsilon: float = 0.0
    """Of the normalization."""


class Source(ABC):
    """A weights file, read unit by unit in the order of a plan."""

    library: str
    """One of ``LIBRARIES``."""

    @abstractmethod
    def refined(self, plan: ImportPlan) -> ImportPlan:
        """The plan, with what the file itself tells better; ``take`` follows it from then on."""

    @abstractmethod
    def take(self, unit: Unit, layer: keras.Layer) -> Taken:
        """A unit, for a layer of ours.

        Raises:
            Missing: it is not in the file.
        """

    @abstractmethod
    def unused(self) -> str:
        """What of the file no unit has taken, in words; may be empty."""

    def identity(self, layer: keras.Layer) -> Taken:
        """A 1x1 convolution that changes nothing."""
        channels = layer.kernel.shape[-1]
        return Taken(np.eye(channels)[None, None], channels)


def open_source(path: Path) -> Source:
    """The file's content, whatever library it is from.

    Raises:
        ModelFileError: it cannot be read, or is nothing to import.
    """
    found = recognise(path)
    if found in (Format.HDF5, Format.KERAS):
        return _Keras(path, read_hdf5(path) if found is Format.HDF5 else read_keras(path))
    if found in (Format.TORCH, Format.SAFETENSORS):
        return _Torchvision(path, read_state_dict(path))
    if found is Format.DARKNET:
        return _Darknet(path, DarknetFile(path))
    advice = found.advice
    if found in (Format.ARCHIVE, Format.ENCRYPTED):
        advice = "It needs no import: training_config.pretrained_weights takes it as it is."
    raise ModelFileError(
        f"{path} is {found.value}. What can be imported are files of keras.applications (.h5, "
        ".hdf5, .keras), PyTorch (.pt, .pth, .safetensors) and Darknet (.weights). "
        f"{advice}".rstrip()
    )


class _Keras(Source):
    library = "keras"

    _IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)

    def __init__(self, path: Path, layers: Layers):
        self._layers = layers
        self._epsilons = read_epsilons(path)
        self._taken: set[str] = set()
        self._default_epsilon = 0.0

    def refined(self, plan: ImportPlan) -> ImportPlan:
        self._default_epsilon = plan.epsilon
        # Keras numbers layers without a name of their own: the second network that a program
        # builds has a `normalization_1`.
        names = (name for name in self._layers if _unnumbered(name) == plan.input_norm)
        if name := next(names, ""):
            self._taken.add(name)
            mean, variance = list(self._layers[name].values())[:2]
            deviation = np.sqrt(variance)
            # Keras's own files hold the deviations here in place of the variances, and its
            # networks divide once more by their root.
            if np.allclose(variance, self._IMAGENET_DEVIATIONS, atol=1e-4):
                deviation = variance
            return replace(plan, images=Images(_typed(255 * mean), _typed(255 * deviation)))
        return plan

    def take(self, unit: Unit, layer: keras.Layer) -> Taken:
        arrays = self._arrays(unit.their_layer)
        kernel, *bias = _named(arrays, ("kernel", "bias"))
        norm = None
        if unit.their_norm:
            norm = Norm(
                *_named(
                    self._arrays(unit.their_norm),
                    ("gamma", "beta", "moving_mean", "moving_variance"),
                )
            )
        return Taken(
            kernel,
            kernel.shape[2] if _is_depthwise(layer) else kernel.shape[-1],
            bias[0] if bias else None,
            norm,
            self._epsilons.get(unit.their_norm, self._default_epsilon),
        )

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._layers:
            raise Missing(f"it has no layer {name!r}; its layers are {_some(self._layers)}")
        self._taken.add(name)
        return self._layers[name]

    def unused(self) -> str:
        return _left(name for name in self._layers if name not in self._taken)


class _Torchvision(Source):
    def __init__(self, path: Path, tensors: dict[str, np.ndarray]):
        self._tensors = tensors
        self._taken: set[str] = set()
        self._epsilon = 0.0
        normalized = any(key.endswith("running_mean") for key in tensors)
        self.library = "torchvision" if normalized else "torchvision_plain"

    def refined(self, plan: ImportPlan) -> ImportPlan:
        self._epsilon = plan.epsilon
        return plan

    def take(self, unit: Unit, layer: keras.Layer) -> Taken:
        weight = self._tensor(f"{unit.their_layer}.weight")
        filters = weight.shape[0]
        if weight.ndim == 2:
            kernel = _flattened_as_ours(weight, unit.flattened).T
        elif _is_depthwise(layer):
            kernel = weight.transpose(2, 3, 0, 1)  # (C, 1, k, k)
        else:
            kernel = weight.transpose(2, 3, 1, 0)  # (filters, C, k, k)
        bias = f"{unit.their_layer}.bias"
        norm = None
        if unit.their_norm:
            names = ("weight", "bias", "running_mean", "running_var")
            norm = Norm(*(self._tensor(f"{unit.their_norm}.{name}") for name in names))
        return Taken(
            kernel,
            filters,
            self._tensor(bias) if bias in self._tensors else None,
            norm,
            self._epsilon,
        )

    def _tensor(self, key: str) -> np.ndarray:
        if key not in self._tensors:
            raise Missing(f"it has no tensor {key!r}; its tensors are {_some(self._tensors)}")
        self._taken.add(key)
        return self._tensors[key]

    def unused(self) -> str:
        counters = "num_batches_tracked"  # of no use in any network
        return _left(
            key for key in self._tensors if key not in self._taken and not key.endswith(counters)
        )


class _Darknet(Source):
    library = "darknet"

    def __init__(self, path: Path, file: DarknetFile):
        self._path = path
        self._file = file
        self._epsilon = 0.0

    def refined(self, plan: ImportPlan) -> ImportPlan:
        self._epsilon = plan.epsilon
        return plan

    def take(self, unit: Unit, layer: keras.Layer) -> Taken:
        if not self._file.remaining:
            raise Missing(f"it ends before {unit.layer}")
        size, _, channels, filters = layer.kernel.shape
        try:
            read = self._file.convolution(filters, channels, size, normalized=bool(unit.norm))
        except ModelFileError as error:
            raise ModelFileError(f"{self._path}, {unit.layer}: {error}") from error
        norm: Norm | None = None
        if read.gamma is not None and read.mean is not None and read.variance is not None:
            norm = Norm(read.gamma, read.beta, read.mean, read.variance)
        return Taken(read.kernel, filters, None if norm else read.beta, norm, self._epsilon)

    def unused(self) -> str:
        left = self._file.remaining
        return f"{left:,} numbers at the end (a classifier or a detector)" if left else ""


def _is_depthwise(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _named(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> list[np.ndarray]:
    """A Keras layer's arrays in the order of ``names``; a file that numbers them has that order."""
    if names[0] in arrays or f"depthwise_{names[0]}" in arrays:
        renamed = {name.removeprefix("depthwise_"): array for name, array in arrays.items()}
        return [renamed[name] for name in names if name in renamed]
    return list(arrays.values())


def _flattened_as_ours(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(units, C*h*w) to (units, h*w*C), where the map was flattened as ``shape``, (C, h, w)."""
    if not shape:
        return weight
    if weight.shape[1] != np.prod(shape):
        raise Missing(f"its dense layer has {weight.shape[1]} inputs, not {np.prod(shape)}")
    return weight.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(len(weight), -1)


def _typed(values: np.ndarray) -> tuple[float, float, float]:
    """Numbers as one would type them."""
    red, green, blue = (round(float(value), 3) for value in np.ravel(values))
    return red, green, blue


def _some(some: Iterable[str]) -> str:
    names = list(some)
    return ", ".join(names[:4]) + (f"... ({len(names)} in all)" if len(names) > 4 else "")


def _left(some: Iterable[str]) -> str:
    names = list(some)
    return f"{len(names)} of its layers or tensors: {_some(names)}" if names else ""
