"""The two models of a backbone, and how a contract measures and perturbs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

SEED = 1


class Parts(NamedTuple):
    """A backbone drawn as the two models the detector makes of it."""

    features: Any
    """Images (B, H, W, C) to feature maps."""
    head: Any
    """Pooled RoIs (B*R, S, S, C) to vectors (B*R, D)."""

    @property
    def layers(self) -> list:
        return [*self.features.layers, *self.head.layers]

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]


def assert_vectors(head: Any) -> None:
    """Fail unless a head makes a vector of each RoI."""
    shape = head.output.shape
    assert len(shape) == 2 and shape[-1] is not None, f"the head ends in {shape}, not in (RoIs, D)"


def frozen_layers(parts: Parts) -> set[str]:
    """Names of those that do not train."""
    return {layer.name for layer in parts.layers if not layer.trainable}


def without_bias(parts: Parts) -> set[str]:
    """Convolutions, of either kind, that have none."""
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    return {layer.name for layer in parts.layers if isinstance(layer, kinds) and not layer.use_bias}


def norms(parts: Parts) -> list:
    """The batch normalizations."""
    import keras

    return [layer for layer in parts.layers if isinstance(layer, keras.layers.BatchNormalization)]


def statistics(parts: Parts) -> dict[str, np.ndarray]:
    """The moving means by layer."""
    return {norm.name: norm.moving_mean.numpy() for norm in norms(parts)}


def moved(parts: Parts, before: dict[str, np.ndarray]) -> set[str]:
    """Layers whose statistics are no longer what they were."""
    after = statistics(parts)
    return {name for name, mean in before.items() if (after[name] != mean).any()}


def gradients_of(model: Any) -> dict[str, np.ndarray | None]:
    """Of a loss on noise, for each trainable weight by its path."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(noise_for(model), training=True) - 1.0))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    return {
        variable.path: None if gradient is None else np.asarray(gradient)
        for variable, gradient in zip(variables, gradients, strict=True)
    }


def stir(parts: Parts) -> None:
    """Move what starts at 0, such as the last gamma of a branch, and hides what is before it."""
    random = np.random.default_rng(SEED)
    for model in parts:
        for variable in model.trainable_variables:
            if variable.ndim <= 1:
                variable.assign(variable + random.uniform(0.05, 0.15, variable.shape))


@contextmanager
def put_back(parts: Parts) -> Iterator[None]:
    """Undo changes of all but the kernels: statistics, gammas, betas, biases and random states."""
    small = [v for model in parts for v in model.variables if v.ndim <= 1]
    values = [variable.numpy() for variable in small]
    try:
        yield
    finally:
        for variable, value in zip(small, values, strict=True):
            variable.assign(value)


def round_kernels(model: Any, quantized: Any) -> None:
    """Give a model the kernels that its quantized copy rounds its own to."""
    for layer in model.layers:
        twin = quantized.get_layer(layer.name)
        if hasattr(layer, "layers"):
            round_kernels(layer, twin)
        elif hasattr(twin, "rounded_kernel"):
            layer.kernel.assign(twin.rounded_kernel())


def noise_for(model: Any) -> np.ndarray:
    """Two inputs of unit variance; 64 by 64 pixels where the size is free."""
    return noise([2, *(64 if side is None else side for side in model.input.shape[1:])])


def noise(shape: Any) -> np.ndarray:
    """Numbers of unit variance, the same each time."""
    return np.random.default_rng(0).standard_normal(shape, "float32")


def assert_close(answer: Any, expected: Any, tolerance: float, *, at_least: float = 0.0) -> None:
    """Equal up to a part of the largest value, or up to ``at_least``."""
    answer, expected = np.asarray(answer, "float32"), np.asarray(expected, "float32")
    allowed = max(tolerance * np.abs(expected).max(), at_least)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=allowed)
