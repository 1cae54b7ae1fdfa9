"""Work spread over threads, its results in the order of the input, at a flat cost of memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 8
"""Items under way for each thread: enough that none waits for a slow one before it."""


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None
) -> Iterator[R]:
    """``map(function, items)``, in threads.

    Unlike ``ThreadPoolExecutor.map`` it takes an item only when a thread will soon need it.

    Args:
        threads: how many; None is one for each core.
    """
    threads = threads or os.cpu_count() or 1
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) >= threads * _AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
