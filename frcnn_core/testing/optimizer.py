"""What every optimizer must do."""

from __future__ import annotations

import numpy as np

from frcnn_core.components import Optimizer
from frcnn_core.testing.component import ComponentContract


class OptimizerContract(ComponentContract):
    """Subclass as ``class TestLamb(OptimizerContract): optimizer = Lamb()``.

    Options without a default go into ``given``.
    """

    optimizer: Optimizer

    @property
    def component(self) -> Optimizer:
        return self.optimizer

    def descend(self, rates: list[float], *, start=(3.0, -2.0), state=()):
        """Steps down the bowl w . w from ``start``, one for each rate.

        Args:
            rates: what the schedule would set before each step.
            start: the weights, (2,).
            state: values for the optimizer's variables, to go on from; () for a fresh one.

        Returns:
            The values of the optimizer's variables, and the weights (2,), after the steps.
        """
        import keras

        optimizer = self.optimizer.build(self.options())
        weights = keras.Variable(np.array(start, "float32"), name="kernel")
        optimizer.build([weights])
        for variable, value in zip(optimizer.variables, state, strict=bool(state)):
            variable.assign(value)
        for rate in rates:
            optimizer.learning_rate = rate
            optimizer.apply([2.0 * weights.value], [weights])
        return [variable.numpy() for variable in optimizer.variables], weights.numpy()

    def test_every_build_is_a_fresh_optimizer(self):
        import keras

        first, second = (self.optimizer.build(self.options()) for _ in range(2))
        assert isinstance(first, keras.optimizers.Optimizer)
        assert first is not second

    def test_it_descends(self):
        _, end = self.descend([0.01] * 50)
        assert np.sum(end**2) < 3.0**2 + 2.0**2

    def test_it_obeys_the_rate_the_schedule_sets(self):
        _, end = self.descend([0.0] * 3)
        np.testing.assert_array_equal(end, np.array([3.0, -2.0], "float32"))

    def test_its_variables_hold_all_it_needs_to_go_on(self):
        _, straight = self.descend([0.01] * 6)
        state, halfway = self.descend([0.01] * 3)
        _, resumed = self.descend([0.01] * 3, start=halfway, state=state)
        np.testing.assert_array_equal(resumed, straight)
