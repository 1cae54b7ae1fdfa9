"""Ranges from what was measured: which of a tensor's values int8 will cover.

A wide range rounds everything coarsely, a narrow one cuts off what is large.  Three answers:

``minmax``
    The largest absolute value there was: nothing is cut off.
``percentile``
    The smallest range that has a given share of the values in it.
``entropy``
    The range for which the distribution of the 8-bit values tells least less than that of the
    values themselves, by their Kullback-Leibler divergence; what TensorRT's entropy calibration
    does.

Histograms are of absolute values, with ``BINS`` equal bins from 0 to the largest one.

Source of entropy: Migacz, "8-bit inference with TensorRT", GTC 2017; details that these slides
leave open are as in NVIDIA's pytorch-quantization (``calib/histogram.py``).
"""

from __future__ import annotations

import numpy as np

BINS = 2048
LEVELS = 128
"""Codes that are not negative."""


def percentile(histogram: np.ndarray, largest: float, percent: float) -> float:
    """The end of the first bin up to which ``percent`` of the values lie.

    Zeros, of which ReLUs make many, are values like others.

    Args:
        histogram: (BINS,) counts.
        largest: where the last bin ends.
        percent: 0 to 100.
    """
    share = np.cumsum(histogram) / histogram.sum()
    # The last bin ends at 1 but for rounding, which must not be beyond it.
    bins = min(int(np.searchsorted(share, percent / 100)) + 1, len(histogram))
    return largest * bins / len(histogram)


def entropy(histogram: np.ndarray, largest: float) -> float:
    """The range of least divergence, one of those that end with a bin.

    A candidate of ``i`` bins compares two distributions over them.  One is the histogram, with all
    that lies beyond added to its last bin.  The other has 128 levels: each is some of the bins, and
    gives its average to those that are not empty.  Candidates whose last bin is empty while
    something lies beyond it are passed over, for they give no probability to what they cut off.

    Zeros say nothing about where a range should end, and a ReLU makes so many that they would
    decide: the first bin counts as much as its neighbour, as in pytorch-quantization.

    Args:
        histogram: (BINS,) counts.
        largest: where the last bin ends.
    """
    counts = histogram.astype(np.float64)
    counts[0] = counts[1]
    total, num_bins = counts.sum(), len(counts)
    if num_bins <= LEVELS or total == 0:
        return largest

    # Everything about a candidate follows from sums over its levels, and these from running sums.
    ends = np.arange(LEVELS, num_bins + 1)  # (I,) bins of each candidate
    # Bin j belongs to level floor(j * LEVELS / i); a level starts at the first of its bins.
    starts = -(-np.arange(LEVELS + 1) * ends[:, None] // LEVELS)  # (I, LEVELS + 1)
    mass = np.diff(_running(counts)[starts])  # (I, LEVELS)
    filled = np.diff(_running(counts > 0)[starts])  # (I, LEVELS)
    level = mass / np.maximum(filled, 1) / np.maximum(mass.sum(1, keepdims=True), 1e-300)

    beyond = total - _running(counts)[ends]  # (I,)
    last = counts[ends - 1]
    reference = _running(_times_log(counts))[ends - 1] + _times_log(last + beyond)
    mass[:, -1] += beyond
    against = (mass * np.log(np.where(level > 0, level, 1.0))).sum(1)
    divergence = (reference - against) / total  # but for log(total), the same for all
    divergence[(last == 0) & (beyond > 0)] = np.inf
    best = len(ends) - 1 - int(np.argmin(divergence[::-1]))  # of equals the widest
    return largest * int(ends[best]) / num_bins


def _running(values: np.ndarray) -> np.ndarray:
    """(n + 1,) sums of the first 0, 1, ... n values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _times_log(values: np.ndarray) -> np.ndarray:
    """x log x, 0 for 0."""
    return values * np.log(np.where(values > 0, values, 1.0))
