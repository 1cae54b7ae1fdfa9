"""Which images of an epoch or a set each of several processes gets.

A shard is (rank, ranks), a process and how many there are.  Places count the images of an epoch,
or of a set, in their order.
"""

from __future__ import annotations

import numpy as np


def num_batches(num_images: int, batch_size: int) -> int:
    """How many batches that is, the last of which may be smaller."""
    return -(-num_images // batch_size)


def training_places(
    num_images: int, shard: tuple[int, int], *, batch_size: int, first_step: int = 0
) -> tuple[np.ndarray, int]:
    """The places of the images of one process, and how many batches it has too few.

    The n-th batches of all processes are together the n-th batch of one process with batches so
    many times as large.  Where the last one is smaller than there are processes, some of them
    have nothing in it.

    Args:
        num_images: of the epoch.
        batch_size: of each process.
        first_step: leave out so many steps.

    Returns:
        (n,) int64, and 0 or 1.
    """
    rank, ranks = shard
    places = np.arange(rank, num_images, ranks)[first_step * batch_size :]
    steps = max(num_batches(num_images, batch_size * ranks) - first_step, 0)
    return places, steps - num_batches(len(places), batch_size)


def evaluation_places(num_images: int, shard: tuple[int, int], *, batch_size: int) -> np.ndarray:
    """The places of the images of one process, which gets whole batches in turns.

    So all batches are those of one process, and so are the detections in them, to the last bit.

    Returns:
        (n,) int64.
    """
    rank, ranks = shard
    places = np.arange(num_images)
    return places[places // batch_size % ranks == rank]
