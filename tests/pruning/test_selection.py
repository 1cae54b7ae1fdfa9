"""How many channels stay, and which: published numbers, numbers by hand, and a slow rule."""

import random

import numpy as np
import pytest

from frcnn_core.pruning.selection import count, select

ORIGINAL = {"granularity": 8, "min_num_filters": 16}


@pytest.mark.parametrize("threshold, left", [(0.1, 64), (0.5, 40), (0.7, 24), (0.9, 16)])
def test_of_64_even_scores_the_original_keeps_as_many(threshold, left):
    scores = np.linspace(0.02, 1, 64)
    assert count(scores, threshold, **ORIGINAL) == left
    assert select(scores, threshold, **ORIGINAL).tolist() == list(range(64 - left, 64))


def test_a_score_has_to_be_above_the_threshold():
    assert count(np.array([0.5, 0.5, 0.6]), 0.5, granularity=1, min_num_filters=1) == 1


def test_the_number_is_rounded_up():
    assert count(np.arange(10.0), 4.5, granularity=4, min_num_filters=1) == 8


def test_no_more_stay_than_there_are():
    assert count(np.arange(10.0), 0.5, granularity=4, min_num_filters=1) == 10


def test_as_many_stay_as_have_to():
    assert count(np.zeros(10), 0.5, granularity=1, min_num_filters=3) == 3


@pytest.mark.parametrize("size", [1, 15, 16])
def test_a_layer_of_no_more_than_the_minimum_stays_whole(size):
    assert count(np.zeros(size), 0.5, **ORIGINAL) == size


def test_the_best_stay_in_their_order():
    scores = np.array([0.1, 0.9, 0.3, 0.8])
    assert select(scores, 0.2, granularity=1, min_num_filters=1).tolist() == [1, 2, 3]
    assert select(scores, 0.2, granularity=4, min_num_filters=1).tolist() == [0, 1, 2, 3]


def test_what_granularity_adds_is_the_best_of_those_below_the_threshold():
    scores = np.array([0.1, 0.9, 0.2, 0.8])
    assert select(scores, 0.85, granularity=3, min_num_filters=1).tolist() == [1, 2, 3]


def test_of_equal_scores_the_first_stay():
    assert select(np.full(40, 0.5), 0.9, **ORIGINAL).tolist() == list(range(16))


def slow_select(scores, threshold, granularity, minimum):
    above = 0
    for score in scores:
        above += score > threshold
    number = max(above, min(minimum, len(scores)))
    while number % granularity:
        number += 1
    number = min(number, len(scores))
    left = list(range(len(scores)))
    while len(left) > number:
        worst = max(left, key=lambda place: (-scores[place], place))
        left.remove(worst)
    return left


@pytest.mark.slow
def test_any_choice_is_that_of_taking_the_worst_away_one_by_one():
    choose = random.Random(0)
    for _ in range(300):
        scores = [
            choose.choice([0.0, 0.25, 0.5, choose.random()]) for _ in range(choose.randint(1, 40))
        ]
        threshold = choose.choice([0.0, 0.25, 0.5, choose.random()])
        granularity, minimum = choose.randint(1, 10), choose.randint(1, 20)
        found = select(
            np.array(scores), threshold, granularity=granularity, min_num_filters=minimum
        )
        assert found.tolist() == slow_select(scores, threshold, granularity, minimum)
