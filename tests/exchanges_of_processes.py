"""A program that several processes run: what ``Workers`` lets them exchange.

    horovodrun -np 2 python exchanges_of_processes.py RESULTS

Each process leaves RANK.pickle.  At the end the second one kills itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from frcnn_core.errors import DataError, WorkerLost
from frcnn_core.processes.distributed import LARGE, connect


def averages(workers):
    """Of (1 + rank), with this process's weight 1/3 or 1; and sums."""
    own = tf.constant([1.0 + workers.rank, -4.0 * workers.rank])
    mean, total = workers.average([own], [1 / 3, 1.0][workers.rank], sums=[own])
    return mean.numpy(), total.numpy()


def without_the_second(workers):
    """The second process has nothing but NaN, at weight 0."""
    own = tf.constant([5.0, float("nan")][workers.rank])
    return workers.average([own], tf.constant(1.0 - workers.rank))[0].numpy()


def in_a_function(workers, compress):
    """Random numbers: large and small ones that may be compressed, and large ones that may not."""
    workers = replace(workers, compress=compress)
    random = np.random.default_rng(workers.rank)
    sizes = (LARGE, LARGE - 1, LARGE)
    own = [tf.constant(random.normal(size=size), tf.float32) for size in sizes]

    @tf.function(autograph=False)
    def exchange(*own):
        return workers.average(own, tf.constant(1.0), compressible=2)

    return [value.numpy() for value in own], [value.numpy() for value in exchange(*own)]


def broadcast(workers):
    values = (np.full((2, 3), 1.5, np.float32), np.arange(2), np.float16(0.5))
    variables = [tf.Variable(value + np.asarray(workers.rank, value.dtype)) for value in values]
    workers.broadcast(variables)
    return [variable.numpy() for variable in variables]


def objects(workers):
    """Values that are pickled, of different sizes."""
    own = {"rank": workers.rank, "more": "x" * 1000 * workers.rank}
    return workers.gather(own), workers.share(own)


def on_first(workers):
    """What an action gives, how often it ran here, and what its error becomes."""
    calls = []

    def fail():
        raise DataError("The disk is full.")

    given = workers.on_first(lambda: calls.append(1) or 42)
    try:
        workers.on_first(fail)
    except DataError as error:
        return given, len(calls), str(error)


def lost(workers):
    """What the first process sees after the second was killed."""
    if workers.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    update = tf.function(lambda: workers.average([tf.constant(1.0)], tf.constant(1.0)))
    try:
        with workers.watching():
            update()
    except WorkerLost as error:
        return str(error)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # horovodrun's, once a process is gone
    path = Path(sys.argv[1])
    workers = connect()
    seen = {
        "worker": (workers.rank, workers.size, workers.is_first),
        "averages": averages(workers),
        "without the second": without_the_second(workers),
        "exact": in_a_function(workers, compress=False),
        "compressed": in_a_function(workers, compress=True),
        "broadcast": broadcast(workers),
        "objects": objects(workers),
        "on first": on_first(workers),
    }
    path.joinpath(f"{workers.rank}.pickle").write_bytes(pickle.dumps(seen))
    workers.gather(None)  # both have written
    seen["lost"] = lost(workers)
    path.joinpath(f"{workers.rank}.pickle").write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main()
