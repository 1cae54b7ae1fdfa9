"""Which records an epoch consists of, and in what order.

An epoch has as many images as there are records.  Everything is a function of (seed, epoch).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from frcnn_core.errors import DataError

_SMALL = 10_000
"""Records: sets up to here keep the order that the first frcnn gave them."""
_OPEN_FILES = 16


class SamplingMode(Enum):
    """How often the images of each source come (``dataset_config.sampling_mode``)."""

    USER_DEFINED = "user_defined"
    """In proportion to the source's number of images times its weight."""
    PROPORTIONAL = "proportional"
    """Every image once."""
    UNIFORM = "uniform"
    """Every source equally often, whatever its size."""


def quotas(counts: Sequence[int], weights: Sequence[float], mode: SamplingMode) -> list[int]:
    """How many images of an epoch are from each source; together as many as there are.

    Args:
        counts: images of each source.
        weights: of each source (``source_weight``), for USER_DEFINED.  A source of weight 0 is
            left out.

    Raises:
        DataError: a weight is negative, or all sources that have images have a weight of 0.
    """
    if mode is SamplingMode.PROPORTIONAL:
        return list(counts)
    if min(weights) < 0:
        raise DataError(f"source_weight {min(weights):g}: a source cannot come less than never.")
    asked = (
        np.array(counts, float) * weights
        if mode is SamplingMode.USER_DEFINED
        else np.array(counts) > 0
    )
    if not asked.sum():
        raise DataError("source_weight: no source with images has a weight above 0.")
    exact = asked / asked.sum() * sum(counts)
    found = np.floor(exact + 1e-9).astype(int)
    # What rounding down left over goes to the largest remainders, the first of equal ones.
    missing = np.argsort(found - exact, kind="stable")[: sum(counts) - found.sum()]
    found[missing] += 1
    return found.tolist()


def epoch_order(
    counts: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    mode: SamplingMode = SamplingMode.USER_DEFINED,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """The records of an epoch in the order they come.

    No image comes a second time unless all of its source come at least once; which ones come
    once more than others is drawn anew for each epoch.

    Args:
        counts: records in each file of each source.
        weights: of the sources; None is 1 for each.
        mode: what the weights mean.
        epoch: from 0.

    Returns:
        (N,) int64 record numbers, counted through all files of all sources.

    Raises:
        DataError: as ``quotas``.
    """
    totals = [sum(files) for files in counts]
    weights = [1.0] * len(totals) if weights is None else weights
    wanted = quotas(totals, weights, mode) if totals else []
    sizes = [count for files in counts for count in files]
    if wanted == totals and sum(totals) <= _SMALL:
        return _order_of_a_small_set(sizes, seed, epoch)
    rng = np.random.default_rng((seed, epoch))
    numbers, first = [], 0
    for total, quota in zip(totals, wanted, strict=True):
        passes, rest = divmod(quota, max(total, 1))
        own = np.arange(first, first + total)
        numbers += [own] * passes + [rng.choice(own, rest, replace=False)] if total else []
        first += total
    return rng.permutation(np.concatenate(numbers))


def _order_of_a_small_set(sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Every record once, in the order that the first frcnn gave them.

    Its buffer held all of a small set, so the order is as random as any other; it stays, so that
    the same spec gives the same weights.
    """
    import tensorflow as tf

    from frcnn_core.data.threads import untuned

    rng = np.random.default_rng((seed, epoch))
    starts = np.cumsum([0, *sizes])[:-1]
    files = np.array([starts, sizes], np.int64).reshape(2, -1).T[rng.permutation(len(sizes))]
    numbers = untuned(
        tf.data.Dataset.from_tensor_slices(files)
        .interleave(
            lambda file: tf.data.Dataset.range(file[0], file[0] + file[1]),
            cycle_length=_OPEN_FILES,
            block_length=1,
        )
        .shuffle(_SMALL, seed=int(rng.integers(2**31)), reshuffle_each_iteration=False)
        .batch(_SMALL)
    )
    return np.concatenate([np.zeros(0, np.int64), *numbers.as_numpy_iterator()])
