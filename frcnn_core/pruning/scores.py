"""How much each channel matters: the size of the kernels that make it.

The rule is that of TLT and TAO.  The score of a layer's channel is the L2 norm of its filter, over
all of the filter's axes, relative to the layer's other filters.  Biases and normalizations do not
count.  Where channels of several layers can only go together, their scores become one.

Source: the documentation's section on pruning; what it leaves open is as in TAO's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import keras
import numpy as np

from frcnn_core.errors import FrcnnError
from frcnn_core.pruning.channels import ChannelGroup, Channels

Normalizer = Literal["max", "L2"]
Equalization = Literal["union", "intersection", "arithmetic_mean", "geometric_mean"]


def filter_norms(kernel: np.ndarray, *, depthwise: bool = False) -> np.ndarray:
    """(C,) float64 L2 norm of each filter.

    Args:
        kernel: (..., C_in, C) of a convolution or a dense layer.
        depthwise: the kernel is (kh, kw, C, 1), with one filter for each channel that comes in.
    """
    kernel = np.asarray(kernel, np.float64)
    kernel = kernel[..., 0] if depthwise else kernel
    return np.sqrt(np.square(kernel).reshape(-1, kernel.shape[-1]).sum(axis=0))


def normalized(norms: np.ndarray, normalizer: Normalizer) -> np.ndarray:
    """(C,) norms relative to those of the layer; all 0 where these are all 0.

    Args:
        norms: (C,).
        normalizer: ``max`` divides by the largest of them, ``L2`` by their own L2 norm, and
            multiplies by their number: equal filters have a score of sqrt(C) then.  The
            documentation leaves out the factor, the original has it.
    """
    unit = norms.max() if normalizer == "max" else np.sqrt(np.square(norms).sum()) / norms.size
    return norms / unit if unit else np.zeros_like(norms)


def equalized(scores: np.ndarray, equalization: Equalization) -> np.ndarray:
    """(C,) one score for each channel of layers that lose the same ones.

    Args:
        scores: (M, C) of M layers.
        equalization: ``union`` keeps what matters to any of the layers (maximum),
            ``intersection`` what matters to all (minimum); the means are between.
    """
    if equalization == "union":
        return scores.max(axis=0)
    if equalization == "intersection":
        return scores.min(axis=0)
    if equalization == "arithmetic_mean":
        return scores.mean(axis=0)
    with np.errstate(divide="ignore"):  # a score of 0 has a logarithm of -inf and a mean of 0
        return np.exp(np.log(scores).mean(axis=0))


def channel_scores(
    parts: Mapping[str, keras.Model],
    channels: Channels,
    *,
    normalizer: Normalizer = "max",
    equalization: Equalization = "union",
) -> dict[ChannelGroup, np.ndarray]:
    """(C,) scores of every group that may lose channels.

    The layers of a group are those that make its channels and the depthwise convolutions that read
    them, each with its own normalization, and each counts once.  A depthwise convolution of maps
    side by side has a part of its filters in the group of each map.

    Raises:
        FrcnnError: a kernel has a number that is not finite; names its layer.
    """
    members: dict[ChannelGroup, list[np.ndarray]] = {g: [] for g in channels.groups if g.prunable}
    for path, groups in channels.inputs.items():
        makes = path in channels.outputs
        layer = layer_at(parts, path)
        if not hasattr(layer, "kernel"):
            continue  # an input, a normalization or a reshape
        norms = filter_norms(layer.kernel, depthwise=not makes)
        if not np.isfinite(norms).all():
            raise FrcnnError(
                f"{path}: its weights are not all finite, so its channels cannot be compared. "
                "Prune a checkpoint of before the training went wrong."
            )
        first = 0
        for group in channels.outputs[path] if makes else groups:
            if group.prunable:
                scores = normalized(norms, normalizer)
                members[group].append(scores[first : first + group.size])
            first += group.size
    return {group: equalized(np.stack(rows), equalization) for group, rows in members.items()}


def layer_at(parts: Mapping[str, keras.Model], path: str) -> keras.Layer:
    """The layer of a path such as ``features/conv1``, also in models inside of parts."""
    name, *inner = path.split("/")
    layer = parts[name]
    for step in inner:
        layer = layer.get_layer(step)
    return layer
