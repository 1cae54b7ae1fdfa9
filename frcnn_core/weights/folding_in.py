"""Puts into our layers what another library's do otherwise: biases, epsilons, input scales.

All of it is exact with the moving statistics: the folded layers compute what theirs did, up to
rounding.  Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import keras
import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import Layers
from frcnn_core.plugin import Images, ImportPlan
from frcnn_core.weights.sources import Taken


def fold_in(
    taken: Taken,
    layer: keras.Layer,
    norm: keras.layers.BatchNormalization | None,
    plan: ImportPlan,
) -> Layers:
    """The arrays of a layer of ours, and of its normalization, that equal a layer of theirs.

    Args:
        taken: theirs, in our memory layout.
        layer: our convolution or dense layer.
        norm: our normalization after it.

    Raises:
        ModelFileError: there is a bias and nothing of ours to put it into.
    """
    arrays: Layers = {layer.name: {"kernel": taken.kernel}}
    bias = taken.bias
    if norm is not None:
        arrays[norm.name] = _norm(taken, norm.epsilon, plan)
    elif layer.use_bias:
        arrays[layer.name]["bias"] = np.zeros(len(layer.bias)) if bias is None else bias
    elif bias is not None and np.any(bias):
        raise ModelFileError(f"the file has a bias for {layer.name}, which has none here.")
    if norm is not None and layer.use_bias:
        arrays[layer.name]["bias"] = np.zeros(layer.bias.shape)
    return {
        name: {variable: array.astype(np.float32) for variable, array in variables.items()}
        for name, variables in arrays.items()
    }


def _norm(taken: Taken, epsilon: float, plan: ImportPlan) -> dict[str, np.ndarray]:
    """Gamma, beta, mean and variance (C,) for a normalization with this epsilon.

    A bias before a normalization only shifts the mean.  The other epsilon goes into gamma: the
    variance stays what it is, a statistic of the data.
    """
    filters = taken.filters
    bias = np.zeros(filters) if taken.bias is None else taken.bias.astype(np.float64)
    if taken.norm is None:
        ones = np.ones(filters)
        return {
            "gamma": ones,
            "beta": bias,
            "moving_mean": np.zeros(filters),
            "moving_variance": ones - epsilon,
        }
    gamma, beta, mean, variance = (array.astype(np.float64) for array in taken.norm)
    if plan.epsilon_of_deviation:
        theirs = np.sqrt(variance) + taken.epsilon
    else:
        theirs = np.sqrt(variance + taken.epsilon)
    return {
        "gamma": gamma * np.sqrt(variance + epsilon) / theirs,
        "beta": beta,
        "moving_mean": mean - bias,
        "moving_variance": variance,
    }


def scale_inputs(kernel: np.ndarray, images: Images) -> np.ndarray:
    """A first kernel for images divided by one number, from one for images divided by three.

    Zero padding stays what it was: zero is the mean in both cases.

    Args:
        kernel: (k, k, 3, filters).
        images: what it was trained on; here they are divided by ``images.scale``.
    """
    divisors = np.asarray(images.deviations, np.float64)
    if images.channel_order == "bgr":
        divisors = divisors[::-1]
    return (kernel * (images.scale / divisors)[:, None]).astype(np.float32)
