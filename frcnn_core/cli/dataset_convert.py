"""``frcnn dataset_convert``: images and their labels to TFRecords."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.data import ConversionReport


@click.command()
@click.option(
    "-d",
    "--dataset_export_spec",
    "--dataset_spec",
    "dataset_spec",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SPEC",
    help="Dataset spec file.",
)
@click.option(
    "-o",
    "--output_filename",
    "output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="How the names of the record files begin, folder included.",
)
@click.option(
    "-f",
    "--validation_fold",
    type=click.IntRange(min=0),
    metavar="N",
    help="Partition that sample_modifier_config leaves as it is.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad images out instead of stopping.")
@click.option("--overwrite", is_flag=True, help="Replace the records of an earlier conversion.")
@click.option(
    "-r",
    "--results_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write what was converted to conversion.json in this folder.",
)
@options.gpu_index
@options.terminal
def dataset_convert(
    dataset_spec: Path,
    output: Path,
    validation_fold: int | None,
    skip_bad: bool,
    overwrite: bool,
    results_dir: Path | None,
    gpu_index: tuple[int, ...],
) -> None:
    """Write the images and labels that SPEC names as TFRecords for training.

    Every label and image is checked first; nothing is written if one of them is bad.
    """
    from frcnn_core.cli import terminal
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.plugin import installed
    from frcnn_core.spec.check import require_dataset_spec
    from frcnn_core.spec.load import load_dataset_spec

    spec = load_dataset_spec(dataset_spec)
    for problem in require_dataset_spec(spec, installed()):
        click.secho(f"Warning: {problem}", fg="yellow", err=True)
    terminal.load_tensorflow()
    from frcnn_core.assemble import conversion_plan
    from frcnn_core.data import convert

    plan = conversion_plan(spec.message, installed(), output, validation_fold)
    with progress_of("Reading") as progress:
        report = convert(plan, skip_bad=skip_bad, overwrite=overwrite, progress=progress)
    _print(report)
    if plan.val_fraction and plan.mode in ("shuffled", "random") and not report.num_images[0]:
        click.secho(
            "Partition 0 is empty: there are too few images for validation.", fg="yellow", err=True
        )
    if results_dir:
        _write_json(report, results_dir / "conversion.json")


def _print(report: ConversionReport) -> None:
    from rich.console import Console
    from rich.table import Table

    for problem in report.left_out:
        click.secho(f"Left out: {problem}", fg="yellow", err=True)
    if report.without_area:
        click.secho(
            f"Left out: {len(report.without_area)} box(es) without width or height,"
            f" listed in {report.warnings}.",
            fg="yellow",
            err=True,
        )
    folds = sorted(report.objects)
    table = Table(title="Objects in each partition")
    table.add_column("class")
    for heading in [*(f"fold {fold}" for fold in folds), "all"]:
        table.add_column(heading, justify="right")
    for name in sorted(set().union(*report.objects.values())):
        counts = [report.objects[fold][name] for fold in folds]
        table.add_row(name, *map(str, counts), str(sum(counts)))
    table.add_section()
    counts = [report.num_images[fold] for fold in folds]
    table.add_row("images", *map(str, counts), str(sum(counts)))
    Console().print(table)
    click.echo(f"{len(report.files)} file(s) written, from {report.files[0]}")
    click.echo(f"to {report.files[-1]}")


def _write_json(report: ConversionReport, path: Path) -> None:
    import json

    from frcnn_core.files import write_whole

    content = {
        "num_images": report.num_images,
        "objects": report.objects,
        "files": [str(path) for path in report.files],
        "left_out": report.left_out,
        "without_area": report.without_area,
    }
    write_whole(path, json.dumps(content, indent=2) + "\n")
