"""Measures one case; for a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter

import tensorflow as tf

from benchmarks import machine, stages
from benchmarks.cases import WARM_UP, Case
from benchmarks.report import Measurement
from frcnn_core import assemble
from frcnn_core.data import Batches, evaluation_batches
from frcnn_core.detector import FasterRCNN, flops
from frcnn_core.plugin import installed
from frcnn_core.spec.load import Spec
from frcnn_core.structures import Batch


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


@dataclass(frozen=True)
class Job:
    """A case, ready to run."""

    detector: FasterRCNN
    batches: Batches
    """One pass over the pictures."""
    steps: Callable[[Iterable[Batch]], Iterator[object]]
    """A whole step for each batch."""
    prefixes: stages.Prefixes
    last: str
    """The stage after them."""
    work: Callable[[tuple[int, ...]], dict[str, int]]
    """Floating-point operations by stage for images (B, H, W, C)."""


def training_job(spec: Spec, use_amp: bool) -> Job:
    """The trainer of ``frcnn train``."""
    trainer = assemble.training(spec, installed(), use_amp=use_amp).trainer
    detector, settings = trainer.model.detector, trainer.settings
    real = trainer.batches(0, 0)

    def steps(batches: Iterable[Batch]) -> Iterator[object]:
        trainer.batches = lambda epoch, step: batches
        return trainer.run()

    return Job(
        detector,
        real,
        steps,
        prefixes=stages.of_training(detector, settings),
        last="update",
        work=partial(flops.of_training, detector, rois_per_image=settings.roi_mini_batch),
    )


def detection_job(spec: Spec) -> Job:
    """What ``frcnn evaluate`` does with a model, short of scoring."""
    model = assemble.new_model(spec, installed())
    config = spec.message.evaluation_config
    settings = assemble.detection_settings(config)
    detect = assemble.detect_function(model, settings)
    sources, _ = assemble.sources(spec)
    return Job(
        model.detector,
        evaluation_batches(
            sources,
            assemble.class_map(spec),
            model.preprocessing,
            batch_size=config.batch_size,
        ),
        steps=lambda batches: (detect(batch.images, batch.sizes) for batch in batches),
        prefixes=stages.of_detection(model.detector, settings),
        last="RoI head",
        work=partial(flops.of_detection, model.detector, rois_per_image=settings.rpn_nms_max_boxes),
    )


def taking_turns(actions: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median seconds of each action."""
    return {name: median(seconds) for name, seconds in times(actions, runs).items()}


def times(
    actions: Mapping[str, Callable[[], object]],
    runs: int,
    *,
    before: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each run of each action.

    They take turns, so that a machine that slows down for a while slows all of them alike.

    Args:
        before: done before each run of each action, and not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(WARM_UP + runs):
        for name, action in actions.items():
            before()
            start = perf_counter()
            action()
            tf.test.experimental.sync_devices()  # a GPU may still be at work
            seconds[name].append(perf_counter() - start)
    return {name: values[WARM_UP:] for name, values in seconds.items()}


def seconds_each(steps: Iterator[object], runs: int) -> float:
    """Median seconds of a step where one follows the other."""
    return taking_turns({"step": lambda: next(steps)}, runs)["step"]


def images_per_second(batches: Iterable[Batch]) -> float:
    """From the first batch to the last, so that starting up does not count."""
    iterator = iter(batches)
    next(iterator)
    start = perf_counter()
    return sum(len(batch.images) for batch in iterator) / (perf_counter() - start)
