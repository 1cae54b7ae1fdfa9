"""One step of each optimizer against the same step on paper.

The weight is 2, its gradient 0.5, the rate 0.1, unless a test says otherwise.
"""

import keras
import numpy as np
import pytest

from frcnn_core import errors
from frcnn_core.builtin.optimizers import Adam, AdamW, RmsProp, Sgd
from frcnn_core.plugin.options import parse


def steps(component, gradients, *, name="kernel", **given) -> float:
    """Where a weight of 2 is after a step for each gradient."""
    optimizer = component.build(parse(component.Options, given, where="optimizer"))
    optimizer.learning_rate = 0.1
    weight = keras.Variable(np.float32(2.0), name=name)
    for gradient in gradients:
        optimizer.apply([np.float32(gradient)], [weight])
    return float(weight.numpy())


def test_sgd_steps_along_the_gradient():
    assert steps(Sgd(), [0.5]) == pytest.approx(2 - 0.1 * 0.5)


def test_sgd_keeps_nine_tenths_of_the_last_step():
    assert steps(Sgd(), [0.5, 0.5]) == pytest.approx(2 - 0.05 - (0.05 + 0.9 * 0.05))


def test_sgd_without_momentum_forgets_the_last_step():
    assert steps(Sgd(), [0.5, 0.5], momentum=0.0) == pytest.approx(2 - 2 * 0.05)


def test_nesterovs_momentum_looks_ahead():
    assert steps(Sgd(), [0.5], nesterov=True) == pytest.approx(2 - (0.05 + 0.9 * 0.05))


def test_adams_first_step_is_the_rate_whatever_the_gradient():
    assert steps(Adam(), [0.5]) == pytest.approx(2 - 0.1, abs=1e-5)
    assert steps(Adam(), [50.0]) == pytest.approx(2 - 0.1, abs=1e-5)


def test_adams_second_step_divides_the_mean_by_the_root_of_the_mean_square():
    mean = (0.9 * 0.1 * 0.5 + 0.1 * -0.3) / (1 - 0.9**2)
    square = (0.999 * 0.001 * 0.25 + 0.001 * 0.09) / (1 - 0.999**2)
    assert steps(Adam(), [0.5, -0.3]) == pytest.approx(1.9 - 0.1 * mean / square**0.5, abs=1e-5)


def test_amsgrad_divides_by_the_largest_mean_square_so_far():
    # With beta_2 = 0 the mean square is the last gradient's: 0.0001, but the largest was 1.
    given = {"beta_1": 0.0, "beta_2": 0.0}
    first = 2 - 0.1
    assert steps(Adam(), [1.0, 0.01], **given) == pytest.approx(first - 0.1, abs=1e-5)
    assert steps(Adam(), [1.0, 0.01], amsgrad=True, **given) == pytest.approx(
        first - 0.1 * 0.01, abs=1e-5
    )


def test_adamw_takes_rate_times_decay_off_the_weight():
    assert steps(AdamW(), [0.5], weight_decay=0.3) == pytest.approx(
        2 - 0.1 * 0.3 * 2 - 0.1, abs=1e-5
    )


@pytest.mark.parametrize("name", ["bias", "gamma", "beta"])
def test_adamw_leaves_biases_and_normalisation_alone(name):
    assert steps(AdamW(), [0.5], weight_decay=0.3, name=name) == pytest.approx(1.9, abs=1e-5)


def test_adamw_decays_what_only_has_beta_in_its_name():
    assert steps(AdamW(), [0.5], weight_decay=0.3, name="beta_kernel") == pytest.approx(
        1.84, abs=1e-5
    )


def test_rmsprop_divides_by_the_root_of_a_tenth_of_the_square():
    assert steps(RmsProp(), [0.5]) == pytest.approx(2 - 0.1 / 0.1**0.5, abs=1e-5)


def test_decay_does_nothing_and_says_so(caplog):
    assert steps(Sgd(), [0.5], decay=0.5) == pytest.approx(1.95)
    assert "decay: 0.5 has no effect" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "component, given, message",
    [
        (Adam(), {"beta_1": "1"}, "optimizer.beta_1: 1 is not in [0, 1)."),
        (AdamW(), {"weight_decay": "-1"}, "optimizer.weight_decay: -1 is negative."),
        (Sgd(), {"momentum": "1.5"}, "optimizer.momentum: 1.5 is not in [0, 1)."),
    ],
)
def test_a_value_out_of_range_is_refused(component, given, message):
    with pytest.raises(errors.SpecError) as caught:
        steps(component, [], **given)
    assert str(caught.value) == message
