"""Thresholds: what they leave, and how they are found."""

import random
from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from masked import run_parts
from random_networks import SIDE, detector

from frcnn_core.errors import FrcnnError
from frcnn_core.pruning import Criterion, Plan, rebuild

SMALL = Criterion(granularity=1, min_num_filters=1)
"""For networks of a few channels."""


def plan_of(norms, *, criterion=SMALL, **options):
    """Of two 1 x 1 convolutions without biases, of one channel to C and to one.

    Args:
        norms: (C,) of the first one's filters.
    """
    x = keras.Input((4, 4, 1))
    y = layers.Conv2D(len(norms), 1, use_bias=False, name="a")(x)
    model = keras.Model(x, layers.Conv2D(1, 1, use_bias=False, name="b")(y))
    model.get_layer("a").kernel.assign(np.reshape(norms, (1, 1, 1, -1)))
    return Plan({"features": model}, criterion, **options)


def kept(plan, threshold):
    (indices,) = plan.keep(threshold).values()
    return indices.tolist()


def test_what_is_not_above_the_threshold_goes():
    plan = plan_of([1, 4, 2, 3])
    assert kept(plan, 0.5) == [1, 3]
    assert list(plan.counts(0.5).values()) == [2]
    assert plan.num_parameters(0.5) == 4


def test_a_threshold_of_zero_keeps_all_that_is_not_zero():
    assert kept(plan_of([1, 0, 2, 3]), 0) == [0, 2, 3]


def test_named_layers_keep_their_channels():
    plan = plan_of([1, 4, 2, 3], fixed=["a"])
    assert plan.keep(0.5) == {} and plan.num_parameters(0.5) == 8


def test_values_that_make_no_sense_are_told_all_at_once():
    with pytest.raises(FrcnnError) as error:
        Criterion("L1", "sum", granularity=0, min_num_filters=-1)
    normalizer, equalization, granularity, minimum = str(error.value).splitlines()
    assert normalizer == "normalizer: there is no 'L1'; choose from max, L2."
    assert equalization.startswith("equalization_criterion: there is no 'sum'; choose from union,")
    assert granularity == "pruning_granularity: 0 is no number of filters; it has to be 1 or more."
    assert minimum.startswith("min_num_filters: -1 is no number")


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), float("inf")])
def test_thresholds_beyond_all_scores_are_refused(threshold):
    with pytest.raises(FrcnnError, match=r"out of range.*from 0 to 1"):
        Criterion().check_threshold(threshold)


def test_scores_by_l2_have_no_upper_bound():
    Criterion(normalizer="L2").check_threshold(9.0)
    with pytest.raises(FrcnnError, match=r"out of range.*0 or more"):
        Criterion(normalizer="L2").check_threshold(-1)


# A target ratio ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ratio, left", [(0.99, 3), (0.75, 3), (0.74, 2), (0.5, 2), (0.49, 1), (0.25, 1)]
)
def test_the_largest_network_of_at_most_the_ratio_is_found(ratio, left):
    plan = plan_of([1, 4, 2, 3])
    assert plan.num_parameters(plan.threshold_for(ratio)) == 2 * left


def test_of_thresholds_that_leave_the_same_it_is_the_one_with_the_fewest_digits():
    plan = plan_of([1000, 123, 456, 457])  # scores 1, 0.123...
    assert plan.threshold_for(0.75) == 0.2
    assert plan.threshold_for(0.5) == 0.456
    assert plan.threshold_for(0.25) == 1  # nothing more goes from 0.457 on


def test_scores_that_granularity_makes_alike_are_one_step():
    scores = [0.11, 0.22, 0.33, 0.44, 0.55, 1]
    plan = plan_of(scores, criterion=Criterion(granularity=2, min_num_filters=1))
    # Four stay where three or four are above the threshold: from 0.22 to below 0.44.
    assert plan.threshold_for(0.7) == 0.3
    assert [len(kept(plan, t)) for t in (0.219, 0.22, 0.439, 0.44)] == [6, 4, 4, 2]


def test_what_cannot_be_reached_is_an_error_that_names_what_can():
    plan = plan_of([1, 4, 2, 3], criterion=Criterion(granularity=1, min_num_filters=3))
    with pytest.raises(FrcnnError) as error:
        plan.threshold_for(0.5)
    assert "0.5 cannot be reached. At least 0.75 of the parameters are left" in str(error.value)
    assert "min_num_filters 3; 1 of 2 groups of layers keep all" in str(error.value)
    assert "Type --target-ratio 0.75," in str(error.value)
    assert plan.num_parameters(plan.threshold_for(0.75)) == 6


def test_where_nothing_can_go_no_ratio_is_offered():
    with pytest.raises(FrcnnError) as error:
        plan_of([1, 4, 2, 3], fixed=["a"]).threshold_for(0.5)
    assert "At least 1 of the parameters" in str(error.value)
    assert "--target-ratio" not in str(error.value)


@pytest.mark.parametrize("ratio", [0, 1, 30, -0.5, float("nan")])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(FrcnnError, match="between 0 and 1"):
        plan_of([1, 2]).threshold_for(ratio)


def test_a_sweep_goes_from_all_to_as_little_as_there_can_be():
    plan = plan_of(range(1, 101))
    sweep = plan.sweep()
    assert sweep[0] == 0 and sweep[1] == 0.05 and sweep[-2:] == [0.95, 1]
    assert [len(kept(plan, t)) for t in sweep] == [100, *range(95, 0, -5), 1]


def test_a_sweep_of_what_cannot_be_pruned_has_one_line():
    assert plan_of([1, 4, 2, 3], fixed=["a"]).sweep() == [0.0]


# Random networks --------------------------------------------------------------------------------


CRITERIA = (
    SMALL,
    Criterion("L2", "intersection", granularity=1, min_num_filters=1),
    Criterion("max", "arithmetic_mean", granularity=2, min_num_filters=1),
    Criterion("L2", "geometric_mean", granularity=1, min_num_filters=2),
)


def check_plan(seed):
    """Of a random network: sizes are those of what is built, thresholds are the best, and what is
    built computes what the whole does with the channels that go masked."""
    parts = detector(random.Random(seed))
    plan = Plan(parts, CRITERIA[seed % len(CRITERIA)])
    steps = np.unique(np.concatenate([[0.0], *plan.scores.values()]))
    sizes = [plan.num_parameters(step) for step in steps]
    assert all(larger >= smaller for larger, smaller in pairwise(sizes))
    for ratio in (0.8, 0.5, sizes[-1] / plan.sizes.whole):
        possible = [size for size in sizes if size <= ratio * plan.sizes.whole]
        if not possible or ratio == 1:
            continue
        threshold = plan.threshold_for(ratio)
        assert plan.num_parameters(threshold) == max(possible)
        keep = plan.keep(threshold)
        smaller = rebuild(parts, plan.channels, keep)
        assert sum(part.count_params() for part in smaller.values()) == max(possible)
    images = np.random.default_rng(seed).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype("float32")
    expected = run_parts(parts, images, keep, lambda cells: cells[:, 1:3, :2])
    cells = smaller["features"](images).numpy()
    found = {
        "features": [cells],
        "rpn": smaller["rpn"](cells),
        "head": smaller["head"](cells[:, 1:3, :2]),
    }
    for name, outputs in expected.items():
        for output, other in zip(outputs, found[name], strict=True):
            np.testing.assert_allclose(other, output, atol=1e-4 * max(1.0, np.abs(output).max()))


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_plan_of_a_random_network_is_what_is_built(seed):
    check_plan(seed)


@pytest.mark.conformance
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_plans_of_many_random_networks_are_what_is_built(seed):
    check_plan(seed)
