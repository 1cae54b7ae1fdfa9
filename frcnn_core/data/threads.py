"""On how many threads tf.data works: as many as there are cores, from the first batch on."""

from __future__ import annotations

import tensorflow as tf

from frcnn_core.processes import num_cores

PARALLEL_CALLS = num_cores()
"""Of a function that is mapped over a data set."""
BATCHES_AHEAD = 2
"""That are ready while one is used."""


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same, without tf.data's search for better numbers.

    The search looks again after 10 ms, 20 ms, 40 ms and so on, up to a minute, and whoever drops
    an iterator often waits for its next look: a pass takes up to twice its time.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
