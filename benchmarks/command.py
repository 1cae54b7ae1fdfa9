"""``python -m benchmarks``: measures, and prints tables."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from benchmarks import cases, machine, report
from frcnn_core.cli.terminal import load_tensorflow
from frcnn_core.files import write_whole

COMMANDS = ("--help", "plugins")
"""Started to see how long a user waits for them."""


@click.command()
@click.option("--quick", is_flag=True, help="A small network on small images: that it all runs.")
@click.option("--only", default="", metavar="TEXT", help="Cases with TEXT in their title.")
@click.option("--runs", default=5, show_default=True, help="Times each thing is measured.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(quick: bool, only: str, runs: int, output: Path | None) -> None:
    """Measure training and inference stage by stage, and the start of the command line."""
    chosen = [case for case in (cases.QUICK if quick else cases.FULL) if only in case.title]
    if not chosen:
        known = "\n  ".join(case.title for case in cases.FULL)
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
    measurements = _measure(chosen, runs)
    console = Console()
    console = Console(width=console.width if console.is_terminal else 160)
    for table in report.tables(measurements):
        console.print(table)
    click.echo(report.LEGEND)
    if output:
        found = [report.as_dict(measurement) for measurement in measurements]
        numbers = {"machine": facts, "commands": commands, "cases": found}
        write_whole(output, json.dumps(numbers, indent=2) + "\n")


def _measure(chosen: list[cases.Case], runs: int) -> list[report.Measurement]:
    """Each case in a process of its own, whose peak memory is then its own."""
    # Linux lets a process begin with its parent's peak: this one never imports TensorFlow.
    fresh = partial(
        ProcessPoolExecutor, 1, mp_context=get_context("spawn"), initializer=load_tensorflow
    )
    found = []
    with TemporaryDirectory() as folder:
        for number, case in enumerate(chosen, start=1):
            click.echo(f"{number}/{len(chosen)} {case.title}", err=True)
            size = (case.height, case.width, case.num_images(runs))
            pictures = Path(folder, "x".join(map(str, size)))
            if not pictures.exists():
                with fresh() as pool:
                    pool.submit(cases.draw, pictures, *size).result()
            with fresh() as pool:
                found.append(pool.submit(_measure_one, case, pictures, runs).result())
    return found


def _measure_one(case: cases.Case, pictures: Path, runs: int) -> report.Measurement:
    from benchmarks.measure import measure

    return measure(case, pictures, runs=runs)
