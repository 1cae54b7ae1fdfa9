"""What was measured, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.cases import Case

if TYPE_CHECKING:
    from benchmarks.input_pipeline import Scale, Speed
    from benchmarks.scaling import Scaling

LEGEND = """\
Times are medians. In brackets: the rate of a stage's or step's arithmetic as a share of the
fastest large convolution's ("best conv"), timed in turns with it and in the same number type.
Arithmetic is that of convolutions and dense layers, two operations a product, counted in the
Keras graphs without the gradients that frozen layers spare.

A stage is the difference between a program that ends with it and one that ends before it: a short
stage after long ones is known only roughly, and without gradients less has to be kept in memory.
"proposals" has, in training, targets and RPN losses too; "RoI head" has the cropping, in training
losses and regularizer, in inference the last suppression; "update" is the optimizer and the
trainer's bookkeeping. "data" is what steps take longer with the real pipeline than with one batch
over and over; "step" is without it. "pipeline" is what the pipeline yields alone, in images/s.
Peak memory is the whole process with TensorFlow in it."""

DATA_LEGEND = """\
The input pipeline decodes, resamples and augments; "demand" is what the training step takes on one
batch over and over, with the whole machine to itself. Threads are those of the pipeline.

Large sets are records that share 100 pictures. "no index" is the look at all records before a
training, "index" the same when their index is there, "first batch" comes after it. "before" is the
memory of the process with TensorFlow loaded, "peak" its peak after as many images of every set."""


SCALING_LEGEND = """\
Each process has cores of its own, as many threads as cores, and a batch of its own; a step is on
one batch over and over. "times" is the throughput as a multiple of that of the first row. The
exchange's share is what a step takes longer than the same step without it, in the same processes,
in turns. "alone" is the exchange of tensors of the gradients' sizes and nothing else. Processes
start each run together; a run takes as long as its slowest process."""


@dataclass(frozen=True)
class Measurement:
    """What was found for a case; times are medians in seconds."""

    case: Case
    dtype: str
    stages: dict[str, float]
    """Each stage alone, in the order that data flows; of data, what is not hidden."""
    work: dict[str, int]
    """Floating-point operations of the stages that have any."""
    step: float
    """All stages but data, measured as a whole."""
    best_rate: float
    """Of the fastest large convolution in this dtype, operations per second."""
    pipeline: float
    """Images per second of the data pipeline with nothing else to do."""
    peak_memory: int
    """Bytes, of the whole process."""

    @property
    def rate(self) -> float:
        """Operations per second over the whole step."""
        return sum(self.work.values()) / self.step

    @property
    def share(self) -> float:
        """``rate`` as a fraction of the best one."""
        return self.rate / self.best_rate


def wide_console() -> Console:
    """As wide as the terminal, and wide enough for every table where there is none."""
    console = Console()
    return Console(width=console.width if console.is_terminal else 160)


def tables(measurements: Sequence[Measurement]) -> Iterable[Table]:
    """Training and inference by stage, then what whole steps take and give."""
    for task in ("training", "inference"):
        if found := [m for m in measurements if m.case.task == task]:
            yield _by_stage(f"{task.capitalize()}, milliseconds", found)
    yield _whole_steps(measurements)


def data_tables(speed: Speed, scales: Sequence[Scale]) -> Iterable[Table]:
    """The input pipeline beside the training step, then what large sets cost."""
    title = f"Input pipeline, images/s, for {speed.case.title}"
    table = empty_table(title, ["threads"], ["pipeline", "demand", "times the demand"])
    for threads, rate in speed.by_threads.items():
        ratio = f"{rate / speed.demand:.1f}"
        table.add_row(str(threads), f"{rate:.0f}", f"{speed.demand:.1f}", ratio)
    yield table
    seconds, mebibytes = ["no index, s", "index, s", "first batch, s"], ["before, MiB", "peak, MiB"]
    table = empty_table("Simulated sets", ["images"], [*seconds, *mebibytes])
    for found in scales:
        table.add_row(
            f"{found.num_records:,}",
            *(f"{value:.2f}" for value in (found.cold, found.warm, found.first_batch)),
            *(f"{value / 2**20:.0f}" for value in (found.memory_before, found.peak_memory)),
        )
    yield table


def scaling_tables(found: Scaling) -> Iterable[Table]:
    """Throughput by processes and threads, then what the exchange between processes takes."""
    from benchmarks.scaling import (
        COMPRESSED,
        COMPRESSED_EXCHANGE,
        EXCHANGE,
        STEP,
        WITHOUT,
    )

    title = f"Processes, {found.case.title}, each"
    table = empty_table(title, ["processes", "threads of each"], ["step, ms", "images/s", "times"])
    rates = [found.images_per_second(layout) for layout in found.seconds]
    for (layout, seconds), rate in zip(found.seconds.items(), rates, strict=True):
        table.add_row(
            *(str(layout.processes), str(layout.threads), f"{1000 * seconds[STEP]:.0f}"),
            *(f"{rate:.2f}", f"{rate / rates[0]:.2f}"),
        )
    yield table
    for layout, seconds in found.seconds.items():
        if layout.processes == 1:
            continue
        title = f"Exchange, {layout}, {found.gradient_bytes / 2**20:.1f} MiB of gradients"
        table = empty_table(title, ["gradients sent as"], ["step, ms", "share", "alone, ms"])
        table.add_row("not at all", f"{1000 * seconds[WITHOUT]:.0f}", "", "")
        for name, program, alone in (
            ("float32", STEP, EXCHANGE),
            ("float16", COMPRESSED, COMPRESSED_EXCHANGE),
        ):
            table.add_row(
                *(name, f"{1000 * seconds[program]:.0f}", f"{found.share(layout, program):.3f}"),
                f"{1000 * seconds[alone]:.0f}",
            )
        yield table


def as_dict(measurement: Measurement) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return asdict(measurement) | {"rate": measurement.rate, "share": measurement.share}


def _by_stage(title: str, measurements: Sequence[Measurement]) -> Table:
    table = empty_table(title, ["network", "type"], [*measurements[0].stages, "step"])
    for found in measurements:
        cells = [
            _cell(seconds, found.work.get(stage, 0) / found.best_rate)
            for stage, seconds in found.stages.items()
        ]
        step = _cell(found.step, sum(found.work.values()) / found.best_rate)
        table.add_row(found.case.network, found.dtype, *cells, step)
    return table


def _cell(seconds: float, at_best: float) -> str:
    """Milliseconds, and the share of them that would do at the best rate."""
    share = f" ({at_best / seconds:.2f})" if at_best and seconds > 0 else ""
    return f"{1000 * seconds:.1f}{share}"


def _whole_steps(measurements: Sequence[Measurement]) -> Table:
    numbers = ["GFLOP", "GFLOP/s", "best conv", "share", "amp gain", "peak GiB", "images/s"]
    table = empty_table("Whole steps", ["network", "task", "type"], [*numbers, "pipeline"])
    plain = {(m.case.network, m.case.task): m.step for m in measurements if not m.case.use_amp}
    for found in measurements:
        case = found.case
        without = plain.get((case.network, case.task)) if case.use_amp else None
        table.add_row(
            *(case.network, case.task, found.dtype),
            f"{sum(found.work.values()) / 1e9:.1f}",
            f"{found.rate / 1e9:.1f}",
            f"{found.best_rate / 1e9:.1f}",
            f"{found.share:.2f}",
            f"{without / found.step:.2f}x" if without else "",
            f"{found.peak_memory / 2**30:.2f}",
            f"{case.batch_size / found.step:.2f}",
            f"{found.pipeline:.1f}",
        )
    return table


def empty_table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with columns of words, then columns of numbers, and no rows yet."""
    table = Table(title=title, title_justify="left")
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
