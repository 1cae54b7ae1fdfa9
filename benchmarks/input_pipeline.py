"""The input pipeline alone: how fast it is, and what a large set costs; for processes of their own.

Large sets are simulated: many records share a hundred pictures.  What grows with a set is its
records, their index and the order of an epoch, and these are as they would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from statistics import median
from time import perf_counter

import tensorflow as tf

from benchmarks import machine
from benchmarks.cases import SIMULATED, Case
from benchmarks.jobs import training_job
from benchmarks.timing import images_per_second, seconds_each
from frcnn_core.data import ClassMap, Preprocessing, Source, inspect, training_batches

THREADS = (1, 2)
_SHARDS = 10
_BATCH_SIZE = 32
_CLASSES = ClassMap.of({name: name for name in ("car", "cyclist", "person")})


@dataclass(frozen=True)
class Speed:
    """What the pipeline yields and what training asks for, in images per second."""

    case: Case
    by_threads: dict[int, float]
    """Threads of the pipeline -> with nothing else to do."""
    demand: float
    """Of the training step on one batch over and over, which has the whole machine."""


@dataclass(frozen=True)
class Scale:
    """What a set of a certain size costs; seconds and bytes."""

    num_records: int
    cold: float
    """A look at all records, while there is no index."""
    warm: float
    """The same with an index."""
    first_batch: float
    """From there to the first batch."""
    memory_before: int
    """Peak of the process with TensorFlow loaded, before any record was seen."""
    peak_memory: int
    """After as many images as every set is run for."""


def speed(case: Case, pictures: Path, *, runs: int) -> Speed:
    """Of a training case, with its augmentation.

    Args:
        pictures: a few hundred of the case's size, as written by ``cases.draw``.
        runs: how often each thing is timed.
    """
    job = training_job(case.spec(pictures), case.use_amp)
    steps = job.steps(repeat(next(iter(job.batches))))
    demand = case.batch_size / seconds_each(steps, runs)
    found: dict[int, list[float]] = {threads: [] for threads in THREADS}
    for _ in range(runs):
        for threads in THREADS:
            dataset = _with_threads(job.batches.dataset, threads)
            found[threads].append(images_per_second(batch for batch, _ in dataset))
    return Speed(case, {threads: median(rates) for threads, rates in found.items()}, demand)


def simulate(pictures: Path, num_records: int) -> None:
    """Write records that share a hundred pictures of ``cases.draw`` into ``pictures/NUMBER``."""
    drawn = tf.data.TFRecordDataset(sorted(map(str, (pictures / "tfrecords").glob("street*"))))
    examples = list(drawn.as_numpy_iterator())
    folder = pictures / str(num_records)
    folder.mkdir()
    records = cycle(examples)
    for shard in range(_SHARDS):
        with tf.io.TFRecordWriter(str(folder / f"part-{shard}")) as writer:
            for record in islice(records, num_records // _SHARDS):
                writer.write(record)


def scale(pictures: Path, num_records: int, *, num_images: int) -> Scale:
    """Of a set that ``simulate`` wrote and nobody looked at since.

    Args:
        num_images: to run, from as many epochs as it takes.
    """
    before = machine.peak_memory()
    files = tuple(sorted((pictures / str(num_records)).glob("part*")))
    sources = [Source(files, pictures, "png")]
    cold, warm = (_seconds(partial(inspect, sources, _CLASSES)) for _ in range(2))
    epoch = partial(
        training_batches,
        sources,
        _CLASSES,
        Preprocessing(*SIMULATED),
        batch_size=_BATCH_SIZE,
        max_objects=100,
        seed=1,
    )
    first_batch = _seconds(lambda: next(iter(epoch(epoch=0))))
    left, number = num_images, 0
    while left > 0:
        for batch in epoch(epoch=number):
            left -= len(batch.images)
            if left <= 0:
                break
        number += 1
    return Scale(num_records, cold, warm, first_batch, before, machine.peak_memory())


def _with_threads(dataset: tf.data.Dataset, threads: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    return dataset.with_options(options)


def _seconds(action) -> float:
    start = perf_counter()
    action()
    return perf_counter() - start
