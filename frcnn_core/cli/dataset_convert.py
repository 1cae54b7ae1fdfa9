"""``frcnn dataset_convert``: images with KITTI labels to TFRecords."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.data.conversion import ConversionPlan, ConversionReport
    from frcnn_core.data.sample_modifier import SampleModifier


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
    dataset_spec, output, validation_fold, skip_bad, overwrite, results_dir, gpu_index
) -> None:
    """Write the images and KITTI labels that SPEC names as TFRecords for training.

    Every label and image is checked first; nothing is written if one of them is bad.
    """
    from frcnn_core.cli import terminal
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.data.conversion import convert
    from frcnn_core.spec.check import require_dataset_spec
    from frcnn_core.spec.load import load_dataset_spec

    spec = load_dataset_spec(dataset_spec)
    for problem in require_dataset_spec(spec):
        click.secho(f"Warning: {problem}", fg="yellow", err=True)
    plan = conversion_plan(spec.message, output, validation_fold)
    terminal.load_tensorflow()
    with progress_of("Reading") as progress:
        report = convert(plan, skip_bad=skip_bad, overwrite=overwrite, progress=progress)
    _print(report)
    if results_dir:
        _write_json(report, results_dir / "conversion.json")


def conversion_plan(message, output: Path, validation_fold: int | None) -> ConversionPlan:
    """The plan that a ``DatasetExportConfig`` describes, defaults filled in."""
    from frcnn_core.data.conversion import ConversionPlan
    from frcnn_core.spec import paths

    kitti = message.kitti_config
    root = paths.locate(kitti.root_directory_path)
    sequences = kitti.kitti_sequence_to_frames_file
    return ConversionPlan(
        root=root,
        images=kitti.image_dir_name,
        labels=kitti.label_dir_name,
        output=output,
        extension=kitti.image_extension,
        mode=kitti.partition_mode,
        val_fraction=kitti.val_split / 100,
        seed=kitti.split_seed,
        sequences=root / sequences if sequences else None,
        num_partitions=kitti.num_partitions,
        num_shards=kitti.num_shards,
        modifier=_sample_modifier(message),
        validation_fold=validation_fold,
    )


def _sample_modifier(message) -> SampleModifier | None:
    from frcnn_core.data.sample_modifier import SampleModifier

    if not message.HasField("sample_modifier_config"):
        return None
    config = message.sample_modifier_config
    mapping = config.source_to_target_class_mapping
    return SampleModifier(
        filter_samples_containing_only=frozenset(
            name.lower() for name in config.filter_samples_containing_only
        ),
        dominant_target_classes=frozenset(name.lower() for name in config.dominant_target_classes),
        minimum_target_class_imbalance={
            name.lower(): ratio for name, ratio in config.minimum_target_class_imbalance.items()
        },
        num_duplicates=config.num_duplicates,
        max_training_samples=config.max_training_samples,
        source_to_target_class_mapping={
            source.lower(): target.lower() for source, target in mapping.items()
        },
    )


def _print(report: ConversionReport) -> None:
    from rich.console import Console
    from rich.table import Table

    for problem in report.left_out:
        click.secho(f"Left out: {problem}", fg="yellow", err=True)
    if report.without_area:
        click.secho(
            f"Left out: {len(report.without_area)} box(es) without width or height,"
            f" listed in {report.files[-1]}.",
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
