"""How many channels stay, and which."""

from __future__ import annotations

import numpy as np


def count(scores: np.ndarray, threshold: float, *, granularity: int, min_num_filters: int) -> int:
    """How many channels stay: those above the threshold, and what granularity and minimum add.

    The number is at least ``min_num_filters``, is rounded up to a multiple of ``granularity``, and
    is at most that of all channels: a layer with fewer than the minimum stays whole.

    Args:
        scores: (C,).
        threshold: a score has to be larger than it.
        granularity: channels go so many at a time; at least 1.
        min_num_filters: at least 1.
    """
    above = int((scores > threshold).sum())
    least = max(above, min(min_num_filters, scores.size))
    return min(-(-least // granularity) * granularity, scores.size)


def select(
    scores: np.ndarray, threshold: float, *, granularity: int, min_num_filters: int
) -> np.ndarray:
    """The channels that stay, ascending: the best ones, as many as ``count`` says.

    Of equal scores the first ones stay.  Arguments are those of ``count``.
    """
    number = count(scores, threshold, granularity=granularity, min_num_filters=min_num_filters)
    return np.sort(np.argsort(-scores, kind="stable")[:number])
