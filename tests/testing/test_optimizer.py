from dataclasses import dataclass, field

import keras
import pytest
import tensorflow as tf

from frcnn_core import Optimizer
from frcnn_core.testing import OptimizerContract


class Plain(keras.optimizers.SGD):
    """Weights less rate times gradient, and nothing else."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


class Descent(Optimizer):
    name = "descent"
    summary = "for tests"
    keras_class = Plain

    @dataclass(frozen=True)
    class Options:
        lr: float = field(default=0.01, metadata={"help": "Starting rate."})

    def build(self, options):
        return self.keras_class(learning_rate=options.lr)


class Shared(Descent):
    one = Plain()

    def build(self, options):
        return self.one


class Ascent(Descent):
    class keras_class(Plain):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_add(variable, learning_rate * gradient)


class OfOneRate(Descent):
    class keras_class(Plain):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, 0.01 * gradient)


class OfTheFirstRate(Descent):
    class keras_class(Plain):
        rate = None

        def update_step(self, gradient, variable, learning_rate):
            if self.rate is None:
                self.rate = tf.get_static_value(learning_rate) or 0.0
            self.assign_sub(variable, self.rate * gradient)


class WithAHiddenMemory(Descent):
    class keras_class(Plain):
        def build(self, variables):
            super().build(variables)
            with tf.init_scope():
                self.memory = [tf.Variable(tf.zeros(v.shape)) for v in variables]

        def update_step(self, gradient, variable, learning_rate):
            memory = self.memory[self._get_variable_index(variable)]
            memory.assign(0.9 * memory + gradient)
            self.assign_sub(variable, learning_rate * memory)


class OfVectorsOnly(Descent):
    class keras_class(Plain):
        def update_step(self, gradient, variable, learning_rate):
            if len(variable.shape) == 1:
                super().update_step(gradient, variable, learning_rate)


def contract_of(component):
    return type("Contract", (OptimizerContract,), {"optimizer": component})


@pytest.mark.slow
def test_a_good_optimizer_passes(failures):
    # But for a plugin's module, this one imports Keras.
    found = failures(contract_of(Descent()))
    assert set(found) == {"importing the plugin leaves tensorflow alone"}


DESCENDS = "test_it_descends"
RATE = "test_it_obeys_the_rate_the_schedule_sets"


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, check",
    [
        (Shared, "test_every_build_is_a_fresh_optimizer"),
        (Ascent, DESCENDS),
        (OfVectorsOnly, DESCENDS),
        (OfOneRate, RATE),
        (OfTheFirstRate, RATE),
        (WithAHiddenMemory, "test_its_variables_hold_all_it_needs_to_go_on"),
    ],
)
def test_a_broken_one_fails(failures, broken, check):
    assert failures(contract_of(broken()), check)
