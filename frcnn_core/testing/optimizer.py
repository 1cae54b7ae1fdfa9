"""What every optimizer must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from frcnn_core.plugin import Optimizer
from frcnn_core.testing.component import ComponentContract

SHAPES = {"bias": (2,), "dense_kernel": (3, 2), "conv_kernel": (3, 3, 2, 4)}
"""Weights such as a detector has."""

PRECISIONS = pytest.mark.parametrize("precision", ["float32", "float16"])
"""On a GPU, mixed precision is float16, and the trainer wraps the optimizer to scale the loss."""


class OptimizerContract(ComponentContract):
    """Subclass as ``class TestLamb(OptimizerContract): optimizer = Lamb()``.

    Options without a default go into ``given``.
    """

    optimizer: Optimizer

    @property
    def component(self) -> Optimizer:
        return self.optimizer

    def descend(
        self,
        rates: list[float],
        *,
        start: Sequence[np.ndarray] | None = None,
        state: Sequence[np.ndarray] = (),
        precision: str = "float32",
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Steps down the bowl w . w, in a compiled function as in training.

        Args:
            rates: what the schedule would set before each step.
            start: the weights to begin with; those of ``_start`` unless given.
            state: values for the optimizer's variables, to go on from; () for a fresh one.
            precision: ``float16`` scales the loss.

        Returns:
            The values of the optimizer's variables, and the weights, after the steps.
        """
        import keras
        import tensorflow as tf

        optimizer = self.optimizer.build(self.options())
        if precision == "float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        weights = [
            keras.Variable(value, name=name)
            for name, value in zip(SHAPES, start or _start(), strict=True)
        ]
        optimizer.build(weights)
        for variable, value in zip(optimizer.variables, state, strict=bool(state)):
            variable.assign(value)

        @tf.function(autograph=False)
        def step() -> None:
            with tf.GradientTape() as tape:
                bowl = tf.add_n([tf.reduce_sum(tf.square(weight.value)) for weight in weights])
                objective = optimizer.scale_loss(bowl)
            optimizer.apply(tape.gradient(objective, [w.value for w in weights]), weights)

        for rate in rates:
            optimizer.learning_rate = rate
            step()
        return [v.numpy() for v in optimizer.variables], [w.numpy() for w in weights]

    def test_every_build_is_a_fresh_optimizer(self) -> None:
        import keras

        first, second = (self.optimizer.build(self.options()) for _ in range(2))
        assert isinstance(first, keras.optimizers.Optimizer)
        assert first is not second

    @PRECISIONS
    def test_it_descends(self, precision: str) -> None:
        _, end = self.descend([0.01] * 50, precision=precision)
        for name, before, after in zip(SHAPES, _start(), end, strict=True):
            assert np.sum(after**2) < np.sum(before**2), f"{name} is no nearer to the minimum"

    def test_it_obeys_the_rate_the_schedule_sets(self) -> None:
        _, still = self.descend([0.0] * 3)
        _, moved = self.descend([0.0] * 3 + [0.01])
        for name, start, before, after in zip(SHAPES, _start(), still, moved, strict=True):
            np.testing.assert_array_equal(before, start, f"{name} moved at a rate of 0")
            assert (after != start).any(), f"{name} did not move when the rate was raised from 0"

    @PRECISIONS
    def test_its_variables_hold_all_it_needs_to_go_on(self, precision: str) -> None:
        _, straight = self.descend([0.01] * 6, precision=precision)
        state, halfway = self.descend([0.01] * 3, precision=precision)
        _, resumed = self.descend([0.01] * 3, start=halfway, state=state, precision=precision)
        for name, one, other in zip(SHAPES, straight, resumed, strict=True):
            np.testing.assert_array_equal(other, one, f"{name} differs after resuming")


def _start() -> list[Any]:
    random = np.random.default_rng(0)
    return [random.uniform(1.0, 3.0, shape).astype("float32") for shape in SHAPES.values()]
