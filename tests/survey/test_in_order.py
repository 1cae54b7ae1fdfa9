import threading
import time

import pytest

from frcnn_core.survey.in_order import in_order


def test_results_come_in_the_order_of_the_items_whoever_is_first():
    def slow_for_even(number):
        time.sleep(0.01 * (number % 2 == 0))
        return number * number

    assert list(in_order(slow_for_even, range(30), threads=4)) == [n * n for n in range(30)]


def test_items_are_taken_only_as_they_are_needed():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 2 * 8
    results.close()


def test_several_threads_work():
    barrier = threading.Barrier(2, timeout=10)  # a single thread would wait for ever
    assert len(list(in_order(lambda _: barrier.wait(), range(2), threads=2))) == 2


@pytest.mark.slow
def test_an_error_comes_out_at_its_place():
    def fail_at_three(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(fail_at_three, range(10), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
