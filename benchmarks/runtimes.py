"""How long a detection takes in TensorFlow and in each runtime of exported files, side by side.

    python -m benchmarks.runtimes

All take turns on the same images in one process, each with as many threads as it takes by default.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import cases, machine, report
from benchmarks.cases import Case
from benchmarks.processes import alone
from frcnn_core.files import write_whole

TENSORFLOW = "tensorflow"
FULL = tuple(
    Case("resnet:18", height, width, batch_size, training=False)
    for height, width in ((256, 320), (384, 1248))
    for batch_size in (1, 4)
)
QUICK = (Case("resnet:10", 160, 160, 1, training=False),)
CALIBRATED_ON = 4
"""Batches: what int8 computes in takes no more time for good ranges than for rough ones."""
REST = 0.05
"""Seconds before each turn, in which the threads of the runtime before stop waiting for work."""


@dataclass(frozen=True)
class Program:
    """A format and the precision to write it in."""

    format: str
    data_type: str = "fp32"

    def __str__(self) -> str:
        return f"{self.format} {self.data_type}"


PROGRAMS = (
    Program("saved_model"),
    *(
        Program(name, data_type)
        for name in ("onnx", "openvino", "tflite")
        for data_type in ("fp32", "int8")
    ),
)


@dataclass(frozen=True)
class Latency:
    """What one program took for a batch."""

    program: Program
    seconds: tuple[float, ...]
    """Of each round."""
    file_size: int
    """Bytes that were written; 0 for TensorFlow's, which was not exported."""

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """All programs on one case, and what could not run."""

    case: Case
    latencies: tuple[Latency, ...]
    """TensorFlow's first."""
    left_out: Mapping[str, str]
    """Program to reason."""

    def times(self, latency: Latency) -> float:
        """How many times as fast as TensorFlow."""
        return self.latencies[0].median / latency.median

    def gain_of_int8(self, latency: Latency) -> float | None:
        """How many times as fast as float32 of the same format; None for what is not int8."""
        if latency.program.data_type != "int8":
            return None
        same = (one for one in self.latencies if one.program == Program(latency.program.format))
        return next((one.median / latency.median for one in same), None)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "case": asdict(self.case),
            "latencies": [
                {
                    **asdict(one),
                    "median": one.median,
                    "times": self.times(one),
                    "gain_of_int8": self.gain_of_int8(one),
                }
                for one in self.latencies
            ],
            "left_out": dict(self.left_out),
        }


def compare(
    case: Case, pictures: Path, *, rounds: int, programs: Sequence[Program], model_file: str = ""
) -> Comparison:
    """Time every program that runs here.  For a process of its own.

    Args:
        pictures: as written by ``cases.draw``.
        rounds: turns of each program.
        model_file: a trained model; the case's network with fresh weights otherwise.  How long a
            detection takes depends little on it: every image has as many RoIs.
    """
    from benchmarks.exported import Unavailable, exported, file_size, first_images
    from frcnn_core import assemble
    from frcnn_core.data import evaluation_batches
    from frcnn_core.plugin import installed

    spec = case.spec(pictures)
    if model_file:
        model = assemble.open_model(Path(model_file), "", installed())
    else:
        model = assemble.new_model(spec, installed())
    settings = assemble.detection_settings(spec.message.inference_config)
    sources, _ = assemble.sources(spec)
    mapping = assemble.class_map(spec)
    batches = evaluation_batches(sources, mapping, model.preprocessing, batch_size=case.batch_size)
    images = first_images(batches, CALIBRATED_ON)
    batch = next(iter(batches))
    actions = {Program(TENSORFLOW): _action(assemble.detect_function(model, settings), batch)}
    sizes = {Program(TENSORFLOW): 0}
    left_out = {}
    with TemporaryDirectory() as folder:
        for program in programs:
            output = Path(folder, str(program).replace(" ", "_"))
            try:
                runtime = exported(
                    program.format,
                    model,
                    output,
                    settings=settings,
                    images=images,
                    data_type=program.data_type,
                )
                action = _action(runtime.detect, batch)
                action()
            except Unavailable as reason:
                left_out[str(program)] = str(reason)
                continue
            actions[program] = action
            sizes[program] = file_size(output)
        seconds = in_turns(actions, rounds)
    found = [Latency(program, tuple(seconds[program]), sizes[program]) for program in actions]
    return Comparison(case, tuple(found), left_out)


def _action(detect: Callable[[Any, Any], Any], batch: Any) -> Callable[[], Any]:
    """Detections of a batch as numpy arrays: nothing is left for later."""
    import numpy as np

    # An exported runtime takes arrays; TensorFlow is not to copy them each time.
    given = (batch.images, batch.sizes)

    def run() -> Any:
        found = detect(*given)
        return [np.asarray(found.boxes), np.asarray(found.scores), np.asarray(found.classes)]

    return run


def in_turns(
    actions: Mapping[Any, Callable[[], Any]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    rest: float = REST,
) -> dict[Any, list[float]]:
    """Seconds of each action in each round.

    An action has a run before the one that counts in each of its turns, so that what the others
    did to the caches does not count, and the first round is not counted.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in actions}
    for _ in range(1 + rounds):
        for name, action in actions.items():
            time.sleep(rest)
            action()
            start = clock()
            action()
            seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}


@click.command()
@click.option("--quick", is_flag=True, help="A small network on small images: that it all runs.")
@click.option("--only", default="", metavar="TEXT", help="Programs with TEXT in their name.")
@click.option("--case", "title", default="", metavar="TEXT", help="Cases with TEXT in their title.")
@click.option("--arch", default="resnet:18", show_default=True, help="The network.")
@click.option(
    "-m", "--model", default="", metavar="FILE", help="A trained model instead of fresh weights."
)
@click.option("--rounds", default=10, show_default=True, help="Turns of each runtime.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(
    quick: bool, only: str, title: str, arch: str, model: str, rounds: int, output: Path | None
) -> None:
    """Time detections in TensorFlow and in the runtimes of exported files."""
    programs = [program for program in PROGRAMS if only in str(program)]
    if not programs:
        known = "\n  ".join(map(str, PROGRAMS))
        raise click.BadParameter(f"no program has {only!r} in its name. Programs:\n  {known}")
    cases_here = QUICK if quick else tuple(_with_arch(case, arch) for case in FULL)
    chosen = [case for case in cases_here if title in case.title]
    if not chosen:
        known = "\n  ".join(case.title for case in cases_here)
        raise click.BadParameter(f"no case has {title!r} in its title. Cases:\n  {known}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    facts = machine.describe(*LIBRARIES)
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
    console = report.wide_console()
    found = []
    with TemporaryDirectory() as folder:
        for case in chosen:
            click.echo(case.title, err=True)
            pictures = Path(folder, case.title.replace(" ", "_").replace(":", "_"))
            number = case.batch_size * CALIBRATED_ON
            alone(cases.draw, pictures, case.height, case.width, number)
            compared = alone(
                compare,
                case,
                pictures,
                rounds=1 if quick else rounds,
                programs=programs,
                model_file=model,
            )
            console.print(table(compared))
            for program, reason in compared.left_out.items():
                click.echo(f"LEFT OUT: {program}: {reason}")
            found.append(compared)
    click.echo(LEGEND)
    if output:
        numbers = {"machine": facts, "comparisons": [one.as_dict() for one in found]}
        write_whole(output, json.dumps(numbers, indent=2) + "\n")


LIBRARIES = ("onnxruntime", "openvino", "ai-edge-litert")

LEGEND = """\
Milliseconds for a batch: medians, and in brackets the fastest and slowest turn. "times" is how many
times as fast as TensorFlow, "int8 gain" how many times as fast as float32 of the same format."""


def _with_arch(case: Case, arch: str) -> Case:
    return Case(arch, case.height, case.width, case.batch_size, training=False)


def table(compared: Comparison):
    """A row for each program."""
    found = report.empty_table(
        f"Detection, {compared.case.network}",
        ["program"],
        ["ms", "times", "int8 gain", "written, MiB"],
    )
    for one in compared.latencies:
        gain = compared.gain_of_int8(one)
        low, high = 1000 * min(one.seconds), 1000 * max(one.seconds)
        found.add_row(
            str(one.program),
            f"{1000 * one.median:.1f} ({low:.1f} to {high:.1f})",
            f"{compared.times(one):.2f}",
            "" if gain is None else f"{gain:.2f}",
            f"{one.file_size / 2**20:.1f}" if one.file_size else "",
        )
    return found


if __name__ == "__main__":
    main()
