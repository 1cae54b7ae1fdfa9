"""Draws a graph without its weights, in a third of the time and next to no memory.

Names, shapes, strides and what is frozen can be read off a sketch; it cannot be run.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras

T = TypeVar("T")


def sketch(draw: Callable[[], T]) -> T:
    """What ``draw`` returns, where variables have shapes and no values.

    A layer that gives a variable its value while it is built cannot be sketched; then all is
    drawn in full.
    """

    def without_values() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return draw()

    # Keras keeps a list of variables that wait for their values, one for each thread, and would
    # fill them in on some later, unrelated occasion.  That of this thread ends with it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            return thread.submit(without_values).result()
        except ValueError:
            return draw()
