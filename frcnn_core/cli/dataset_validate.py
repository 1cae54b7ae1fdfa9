"""``frcnn dataset validate``: everything that is wrong with images and labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options, surveying

if TYPE_CHECKING:
    from frcnn_core.survey.report import Report

SHOWN = 5
"""Findings of a kind that are listed without ``--all``."""


@click.command()
@surveying.dataset_spec
@options.experiment_spec(required=False)
@click.option("--quick", is_flag=True, help="Read the headers of images only, not their pixels.")
@click.option("--all", "show_all", is_flag=True, help=f"List all, not {SHOWN} of each kind.")
@click.option("--strict", is_flag=True, help="Exit with 2 for warnings too.")
@surveying.json_file
@surveying.overwrite
@options.terminal
@click.pass_context
def validate(
    ctx: click.Context,
    dataset_spec: Path | None,
    experiment_spec: Path | None,
    quick: bool,
    show_all: bool,
    strict: bool,
    json_file: Path | None,
    overwrite: bool,
) -> None:
    """List everything that is wrong with the images and labels of SPEC.

    With -e, also what a network would not see of them. Exits with 2 if there are errors, with 0
    if there are only warnings and notes.
    """
    from frcnn_core.cli import EXIT_USER_ERROR

    surveying.require_new([json_file], overwrite=overwrite)
    data = surveying.data_of(dataset_spec, experiment_spec)
    from frcnn_core.survey.findings import Severity
    from frcnn_core.survey.validation import validate as find

    keep = None if show_all or json_file else SHOWN
    with surveying.progress_shown("Checking", json_file) as progress:
        report = find(data.splits, data.view, quick=quick, keep=keep, progress=progress)
    if json_file:
        surveying.write_json(report.as_dict(), json_file)
    if not surveying.is_stdout(json_file):
        _print(report, None if show_all else SHOWN)
    if report.num(Severity.ERROR) or (strict and report.num(Severity.WARNING)):
        ctx.exit(EXIT_USER_ERROR)


def _print(report: Report, shown: int | None) -> None:
    from frcnn_core.cli.surveying import counted
    from frcnn_core.survey.findings import Severity

    colours = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
    for severity, line in report.lines(shown):
        if severity is None:
            click.echo(line)
        else:
            click.echo(f"{click.style(severity.value, fg=colours[severity])}: {line}")
    images = ", ".join(f"{name}: {number}" for name, number in report.images.items())
    click.echo(
        f"{counted(report.images.total(), 'image')}{f' ({images})' if images else ''},"
        f" {counted(report.objects.total(), 'object')}:"
        f" {', '.join(counted(report.num(one), one.value) for one in Severity)}."
    )
