"""``frcnn evaluate``: how well a model finds what is labelled in the validation data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.evaluation import EvaluationReport


@click.command()
@options.experiment_spec
@options.key
@click.option(
    "-m",
    "--model",
    "--model_path",
    "model",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Model file, or one that frcnn export wrote; overrides evaluation_config.model.",
)
@options.results_dir
@click.option(
    "-b",
    "--batch_size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images per step; overrides evaluation_config.batch_size.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metric to compute, may be repeated; overrides evaluation_config.metric.",
)
@options.json_file("Write everything as JSON; with -r the default is DIR/evaluation.json.")
@options.max_bad
@click.option("--overwrite", is_flag=True, help="Replace an existing JSON file.")
@options.gpu_index
@options.terminal
@click.option("-i", "--image_dir", hidden=True, expose_value=False)  # TAO takes and ignores both
@click.option("-l", "--label_dir", hidden=True, expose_value=False)
def evaluate(
    experiment_spec: Path,
    key: str | None,
    model: Path | None,
    results_dir: Path | None,
    batch_size: int | None,
    metrics: tuple[str, ...],
    json_file: Path | None,
    max_bad: int,
    overwrite: bool,
    gpu_index: tuple[int, ...],
) -> None:
    """Score a model on the validation data of a spec.

    Prints AP, precision, recall and RPN recall of each class and the mAP.  Where a class has
    nothing to find, or a number is not defined for another reason, it shows "-".
    """
    from frcnn_core.cli.running import (
        announce,
        model_file,
        open_for,
        refuse_existing,
        validation_data,
    )
    from frcnn_core.plugin import installed
    from frcnn_core.spec import check, load

    spec = load.load(experiment_spec)
    config = spec.message.evaluation_config
    if model:
        config.model = str(model)
        config.ClearField("trt_evaluation")
    if batch_size:
        config.batch_size = batch_size
    if metrics:
        del config.metric[:]
        config.metric.extend(metrics)
    announce(check.require(spec, installed(), "evaluate"))
    if results_dir and not json_file:
        json_file = results_dir / "evaluation.json"
    if json_file and not overwrite:
        refuse_existing(json_file)

    path = model_file(config, "trt_evaluation")
    opened = open_for(spec, config, path, key, gpu_index)
    from frcnn_core import assemble
    from frcnn_core.cli.progress import progress
    from frcnn_core.data import BadImages
    from frcnn_core.evaluation import evaluate as run

    data = validation_data(spec, opened.class_names, max_bad)
    click.echo(
        f"Evaluating {path.name} on the {data.summary.count} validation images of {spec.path};"
        f" {data.summary.num_difficult} difficult objects in them do not count."
    )
    bad_images = BadImages(max_bad)
    with progress("Evaluating", data.summary.count) as advance:
        report = run(
            opened.detect,
            data.batches(opened.preprocessing, config.batch_size or 1, bad_images),
            assemble.accumulators(spec, installed(), opened.class_names),
            class_names=opened.class_names,
            progress=advance,
        )
    _show(report)
    if bad := bad_images.summary():
        click.secho(bad, fg="yellow")
    if json_file:
        _write(report, json_file, {"spec": spec.path, "model": config.model})


def _show(report: EvaluationReport) -> None:
    for name, result in report.results.items():
        click.echo(f"\n{name}\n{result.text}")
    rate = report.images_per_second
    speed = f", {rate:.1f} images/s after the first batch" if rate else ""
    click.echo(f"\n{report.num_images} images in {report.seconds:.1f} s{speed}")
    if report.triage:
        click.secho("\nNext to nothing was found. What there was:", fg="yellow")
        for line in report.triage:
            click.echo(f"  {line}")


def _write(report: EvaluationReport, path: Path, origin: dict[str, str]) -> None:
    import json

    from frcnn_core.files import write_whole

    write_whole(path, json.dumps(origin | report.as_dict(), indent=2, allow_nan=False) + "\n")
    click.echo(f"Written to {path}")
