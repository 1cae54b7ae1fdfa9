"""``frcnn spec``: what is wrong with a spec, and what it says with the defaults filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from frcnn_core.spec.problems import Problem

_SPEC = click.argument(
    "path", metavar="SPEC", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_TASKS = ("train", "evaluate", "inference", "export", "prune", "weights", "dataset_convert")


@click.group()
def spec() -> None:
    """Look at spec files, of experiments and of datasets."""


@spec.command()
@_SPEC
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    help="Check what this command needs, and that the files it reads are there. "
    "Without it every section is checked, but no file is looked for.",
)
@click.pass_context
def check(ctx: click.Context, path: Path, task: str | None) -> None:
    """List all that is wrong with SPEC; exit with 2 if there are errors."""
    from frcnn_core.cli import EXIT_USER_ERROR
    from frcnn_core.spec.load import load_either

    problems = _problems(load_either(path), task)
    colors = {"error": "red", "warning": "yellow"}
    for problem in problems:
        severity = click.style(problem.severity, fg=colors[problem.severity])
        click.echo(f"{severity}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    click.echo(f"{path}: {_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}.")
    if errors:
        ctx.exit(EXIT_USER_ERROR)


@spec.command()
@_SPEC
def show(path: Path) -> None:
    """Print SPEC with the defaults filled in, as a spec."""
    from google.protobuf import text_format

    from frcnn_core.spec.load import load_either

    message = load_either(path).message
    text = text_format.MessageToString(
        message, as_utf8=True, use_index_order=True, use_short_repeated_primitives=True
    )
    click.echo(text, nl=False)


def _problems(read: Any, task: str | None) -> list[Problem]:
    """What is wrong with a spec of either kind."""
    from frcnn_core.errors import SpecError
    from frcnn_core.plugin import installed
    from frcnn_core.spec.check import check as check_experiment
    from frcnn_core.spec.check import check_dataset_spec
    from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig

    is_dataset = isinstance(read.message, DatasetExportConfig)
    if task is not None and is_dataset != (task == "dataset_convert"):
        kind = "a dataset spec" if is_dataset else "an experiment spec"
        raise SpecError(f"{read.path}: this is {kind}, which `frcnn {task}` does not read.")
    if is_dataset:
        return check_dataset_spec(read, installed(), with_files=task is not None)
    return check_experiment(read, installed(), task)


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
