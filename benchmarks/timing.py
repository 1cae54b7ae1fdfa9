"""Seconds of things that take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from time import perf_counter

import tensorflow as tf

from benchmarks.cases import WARM_UP
from frcnn_core.structures import Batch


def taking_turns(actions: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median seconds of each action."""
    return {name: median(seconds) for name, seconds in times(actions, runs).items()}


def times(
    actions: Mapping[str, Callable[[], object]],
    runs: int,
    *,
    before: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each run of each action.

    They take turns, so that a machine that slows down for a while slows all of them alike.

    Args:
        before: done before each run of each action, and not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(WARM_UP + runs):
        for name, action in actions.items():
            before()
            start = perf_counter()
            action()
            tf.test.experimental.sync_devices()  # a GPU may still be at work
            seconds[name].append(perf_counter() - start)
    return {name: values[WARM_UP:] for name, values in seconds.items()}


def seconds_each(steps: Iterator[object], runs: int) -> float:
    """Median seconds of a step where one follows the other."""
    return taking_turns({"step": lambda: next(steps)}, runs)["step"]


def images_per_second(batches: Iterable[Batch]) -> float:
    """From the first batch to the last, so that starting up does not count."""
    iterator = iter(batches)
    next(iterator)
    start = perf_counter()
    return sum(len(batch.images) for batch in iterator) / (perf_counter() - start)
