"""Measures one case; for a process of its own."""

from __future__ import annotations

from functools import partial
from itertools import repeat
from pathlib import Path

import tensorflow as tf

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.jobs import detection_job, training_job
from benchmarks.report import Measurement
from benchmarks.timing import images_per_second, seconds_each, taking_turns


def measure(case: Case, pictures: Path, *, runs: int) -> Measurement:
    """Run a case.

    Args:
        pictures: ``num_images`` of them, as written by ``cases.draw``.
        runs: how often each thing is timed.
    """
    spec = case.spec(pictures)
    job = training_job(spec, case.use_amp) if case.training else detection_job(spec)
    with_data = seconds_each(job.steps(job.batches), runs)
    memory = machine.peak_memory()  # before anything is compiled that is only measured
    batch = next(iter(job.batches))
    steps = job.steps(repeat(batch))
    without_data = seconds_each(steps, runs)

    actions = {job.last: lambda: next(steps)}
    for stage, function in job.prefixes.items():
        compiled = tf.function(
            function, input_signature=[job.batches.element_spec], autograph=False
        )
        actions[stage] = partial(compiled, batch)
    dtype = job.detector.features.layers[-1].compute_dtype
    convolutions = machine.convolutions(dtype)
    actions |= {name: run for name, (run, _) in convolutions.items()}
    seconds = taking_turns(actions, runs)
    names = [*job.prefixes, job.last]
    starts = [0.0, *(seconds[name] for name in job.prefixes)]
    return Measurement(
        case=case,
        dtype=dtype,
        stages={"data": with_data - without_data}
        | {name: seconds[name] - start for name, start in zip(names, starts, strict=True)},
        work=job.work(tuple(batch.images.shape)),
        step=seconds[job.last],
        best_rate=max(count / seconds[name] for name, (_, count) in convolutions.items()),
        pipeline=images_per_second(job.batches),
        peak_memory=memory,
    )
