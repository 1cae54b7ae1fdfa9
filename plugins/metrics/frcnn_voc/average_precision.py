"""One number for a precision-recall curve, in the two ways of PASCAL VOC."""

from __future__ import annotations

import numpy as np


def eleven_points(true: np.ndarray, num_truths: int) -> float:
    """Mean over the recalls 0, 0.1, ... 1 of the best precision at that recall or more.

    Args:
        true: (D,) bool, best score first: whether each detection is a true positive.
        num_truths: how many there are to find, at least 1.

    The eleven recalls are floats, compared as such: 3 * 0.1 is 0.30000000000000004, which finding
    3 of 10 does not reach.  So do TLT, py-faster-rcnn and detectron2 (``np.arange(0, 1.1, 0.1)``),
    and numbers are comparable only if all do.

    Source: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", 4.2.
    """
    found = np.cumsum(true)
    precision = _best_from_here_on(found / np.arange(1, len(true) + 1))
    at = np.searchsorted(found / num_truths, np.arange(0.0, 1.1, 0.1))
    return float(np.append(precision, 0.0)[at].mean())


def envelope_area(true: np.ndarray, num_truths: int) -> float:
    """Area under the curve after raising each precision to the best at that recall or more.

    Arguments as for ``eleven_points``.

    Source: VOCap.m of the VOC 2012 development kit.
    """
    precision = _best_from_here_on(np.cumsum(true) / np.arange(1, len(true) + 1))
    return float(precision[true].sum() / num_truths)  # recall rises by 1/num_truths at each


def _best_from_here_on(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[::-1])[::-1]
