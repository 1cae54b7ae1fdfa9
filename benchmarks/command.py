"""``python -m benchmarks``: measures, and prints tables."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import cases, machine, report, scaling
from benchmarks.processes import alone
from frcnn_core.files import write_whole

COMMANDS = ("--help", "plugins")
"""Started to see how long a user waits for them."""


@click.command()
@click.option("--quick", is_flag=True, help="A small network on small images: that it all runs.")
@click.option("--only", default="", metavar="TEXT", help="Cases with TEXT in their title.")
@click.option("--runs", default=5, show_default=True, help="Times each thing is measured.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(quick: bool, only: str, runs: int, output: Path | None) -> None:
    """Measure training and inference stage by stage, the input pipeline alone, training in several
    processes, and the start of the command line."""
    chosen = [case for case in (cases.QUICK if quick else cases.FULL) if only in case.title]
    data = cases.QUICK_DATA if quick else cases.FULL_DATA
    with_data = only in cases.INPUT_PIPELINE
    with_scaling = only in cases.SCALING
    if not chosen and not with_data and not with_scaling:
        titles = [*(case.title for case in cases.FULL), cases.INPUT_PIPELINE, cases.SCALING]
        known = "\n  ".join(titles)
        raise click.BadParameter(f"no case has {only!r} in its title. Cases:\n  {known}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    facts = machine.describe()
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
    commands = {
        f"frcnn {word}": machine.start_up(word, runs=runs) for word in ("--help", "plugins")
    }
    for command, seconds in commands.items():
        click.echo(f"{command}: {1000 * seconds:.0f} ms")
    console = report.wide_console()
    numbers: dict[str, Any] = {"machine": facts, "commands": commands}
    if chosen:
        measurements = _measure(chosen, runs)
        for table in report.tables(measurements):
            console.print(table)
        click.echo(report.LEGEND)
        numbers["cases"] = [report.as_dict(measurement) for measurement in measurements]
    if with_data:
        speed, scales = _measure_data(data, runs)
        for table in report.data_tables(speed, scales):
            console.print(table)
        click.echo(report.DATA_LEGEND)
        numbers[cases.INPUT_PIPELINE] = {
            "speed": asdict(speed),
            "scale": [asdict(scale) for scale in scales],
        }
    if with_scaling and not scaling.can_run():
        click.echo(f"{cases.SCALING}: left out, there is no Horovod. make horovod installs it.")
    elif with_scaling:
        compared = _measure_scaling(cases.QUICK_SCALING if quick else cases.FULL_SCALING, runs)
        for table in report.scaling_tables(compared):
            console.print(table)
        click.echo(report.SCALING_LEGEND)
        numbers[cases.SCALING] = scaling.as_dict(compared)
    if output:
        write_whole(output, json.dumps(numbers, indent=2) + "\n")


def _measure(chosen: list[cases.Case], runs: int) -> list[report.Measurement]:
    """Each case in a process of its own."""
    found = []
    with TemporaryDirectory() as folder:
        for number, case in enumerate(chosen, start=1):
            click.echo(f"{number}/{len(chosen)} {case.title}", err=True)
            size = (case.height, case.width, case.num_images(runs))
            pictures = Path(folder, "x".join(map(str, size)))
            if not pictures.exists():
                alone(cases.draw, pictures, *size)
            found.append(alone(_measure_one, case, pictures, runs))
    return found


def _measure_data(data: cases.DataCases, runs: int) -> tuple[Any, list[Any]]:
    """Speed and scale of the input pipeline."""
    with TemporaryDirectory() as folder:
        click.echo(cases.INPUT_PIPELINE, err=True)
        large, small = Path(folder, "large"), Path(folder, "small")
        case = data.training
        alone(cases.draw, large, case.height, case.width, data.num_pictures)
        speed = alone(_speed, case, large, runs)
        alone(cases.draw, small, *cases.SIMULATED, cases.NUM_SHARED)
        for number in data.num_records:
            alone(_simulate, small, number)
        scales = [alone(_scale, small, number, data.num_images) for number in data.num_records]
    return speed, scales


def _measure_scaling(compared: cases.ScalingCases, runs: int) -> scaling.Scaling:
    """Training in each layout of processes."""
    case = compared.case
    most = max(layout.processes for layout in compared.layouts)
    with TemporaryDirectory() as folder:
        click.echo(cases.SCALING, err=True)
        pictures = Path(folder, "pictures")
        number = most * case.num_images(runs)
        alone(cases.draw, pictures, case.height, case.width, number)
        return scaling.scaling(compared, pictures, runs=runs)


def _measure_one(case: cases.Case, pictures: Path, runs: int) -> report.Measurement:
    from benchmarks.measure import measure

    return measure(case, pictures, runs=runs)


def _speed(case: cases.Case, pictures: Path, runs: int) -> Any:
    from benchmarks.input_pipeline import speed

    return speed(case, pictures, runs=runs)


def _simulate(pictures: Path, num_records: int) -> None:
    from benchmarks.input_pipeline import simulate

    simulate(pictures, num_records)


def _scale(pictures: Path, num_records: int, num_images: int) -> Any:
    from benchmarks.input_pipeline import scale

    return scale(pictures, num_records, num_images=num_images)
