"""``frcnn inference``: pictures and labels of what a model finds in a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frcnn_core.inference import Destination
    from frcnn_core.spec.inference_pb2 import InferenceConfig

PICTURES, LABELS = "images_annotated", "labels"
"""Folders in ``-r DIR``, named as TAO names them."""
MOST_NAMED = 20
"""So many skipped files are named one by one."""


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
    help="Model file, or one that frcnn export wrote; overrides inference_config.model.",
)
@click.option(
    "-i",
    "--images_dir",
    "--image_dir",
    "images_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of images; overrides inference_config.images_dir.",
)
@options.results_dir
@click.option(
    "-b",
    "--batch_size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images per step; overrides inference_config.batch_size.",
)
@click.option(
    "--label_threshold",
    "--label-threshold",
    "label_threshold",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Write detections from this score on to the labels; bbox_visualize_threshold unless given."
    " 0 writes all, for measuring mAP elsewhere.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing pictures and labels.")
@options.gpu_index
@options.terminal
def inference(
    experiment_spec: Path,
    key: str | None,
    model: Path | None,
    images_dir: Path | None,
    results_dir: Path | None,
    batch_size: int | None,
    label_threshold: float | None,
    overwrite: bool,
    gpu_index: tuple[int, ...],
) -> None:
    """Detect in every image of a folder.

    Writes each image with its detections drawn, and KITTI labels with scores, in pixels of the
    original image.  Nothing is deleted; files that are no image are skipped and named.
    """
    from frcnn_core.cli.progress import progress
    from frcnn_core.cli.running import announce, model_file, open_for
    from frcnn_core.errors import DataError
    from frcnn_core.inference import DetectionWriter, find_images, infer
    from frcnn_core.plugin import installed
    from frcnn_core.spec import check, load, paths

    spec = load.load(experiment_spec)
    config = spec.message.inference_config
    if model:
        config.model = str(model)
        config.ClearField("trt_inference")
    if images_dir:
        config.images_dir = str(images_dir)
    if batch_size:
        config.batch_size = batch_size
    announce(check.require(spec, installed(), "inference"))
    destination = _destination(config, results_dir)
    folder = paths.locate(config.images_dir)
    images, skipped = find_images(folder)
    destination.require_free(images, overwrite=overwrite)

    opened = open_for(spec, config, model_file(config, "trt_inference"), key, gpu_index)
    threshold = config.bbox_visualize_threshold
    writer = DetectionWriter(
        destination,
        class_names=opened.class_names,
        picture_threshold=threshold,
        label_threshold=threshold if label_threshold is None else label_threshold,
        caption=config.bbox_caption_on,
    )
    click.echo(f"Detecting {', '.join(opened.class_names)} in {len(images)} images of {folder}")
    with progress("Detecting", len(images)) as advance:
        report = infer(
            opened.detect,
            opened.preprocessing,
            images,
            writer.write,
            batch_size=config.batch_size or 1,
            progress=advance,
        )
    _show_skipped([*skipped, *report.skipped])
    if not report.num_images:
        raise DataError(f"{folder}: none of the {len(images)} images could be used.")
    rate = report.images_per_second
    speed = f", {rate:.1f} images/s after the first batch" if rate else ""
    click.echo(f"{report.num_images} images in {report.seconds:.1f} s{speed}")
    for what, where in (("Pictures", destination.pictures), ("Labels", destination.labels)):
        if where:
            click.echo(f"{what} are in {where}")


def _destination(config: InferenceConfig, results_dir: Path | None) -> Destination:
    """Where pictures and labels go.

    Raises:
        SpecError: nowhere.
    """
    from frcnn_core.errors import SpecError
    from frcnn_core.inference import Destination

    if results_dir:
        return Destination(results_dir / PICTURES, results_dir / LABELS)
    named = (config.detection_image_output_dir, config.labels_dump_dir)
    if not any(named):
        raise SpecError(
            "inference_config: neither detection_image_output_dir nor labels_dump_dir is set, so"
            " there is nothing to write. Set one, or give -r DIR."
        )
    pictures, labels = (Path(folder).expanduser() if folder else None for folder in named)
    return Destination(pictures, labels)


def _show_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    for path, reason in skipped[:MOST_NAMED]:
        click.secho(f"Skipped {path.name}: {reason}", fg="yellow", err=True)
    if len(skipped) > MOST_NAMED:
        click.secho(f"Skipped {len(skipped) - MOST_NAMED} more.", fg="yellow", err=True)
