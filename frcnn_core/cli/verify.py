"""``frcnn export verify``: whether an exported file detects what its model detects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from frcnn_core.assemble.verification import Pair, VerificationImages
    from frcnn_core.data import BadImages
    from frcnn_core.export import Limits, VerificationReport
    from frcnn_core.plugin import Accumulator, LayerCost
    from frcnn_core.spec.load import Spec

DIFFERENT = 1
"""Exit code where a limit is exceeded."""
COST_IMAGES = 4
"""What int8 costs in each layer is measured on so many images."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("exported", type=click.Path(path_type=Path))
@options.experiment_spec
@options.key
@click.option(
    "-i",
    "--image_dir",
    "--images_dir",
    "image_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of images without labels, in place of the spec's validation data; there is no "
    "mAP then.",
)
@click.option(
    "-b",
    "--batch_size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images per step.  [default: evaluation_config.batch_size]",
)
@click.option("--num", type=click.IntRange(min=1), metavar="N", help="Only the first N images.")
@click.option(
    "--max-box",
    "--max_box",
    "max_box",
    type=click.FloatRange(min=0),
    metavar="PIXELS",
    help="Largest difference of a box's coordinate, in pixels of the original image.  [default: "
    "0.05; none for int8 and fp16]",
)
@click.option(
    "--max-score",
    "--max_score",
    "max_score",
    type=click.FloatRange(min=0),
    metavar="SCORE",
    help="Largest difference of a score; with it no detection may be lost or gained.  [default: "
    "0.001; none for int8 and fp16]",
)
@click.option(
    "--max-map-loss",
    "--max_map_loss",
    "max_map_loss",
    type=click.FloatRange(min=0),
    metavar="LOSS",
    help="Largest loss of mAP, which is from 0 to 1.  [default: 0.001; 0.02 for int8 and fp16]",
)
@click.option(
    "--layers",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Of an int8 file, the layers that cost most; 0 does not measure them.",
)
@options.json_file()
@options.max_bad
@click.option("--overwrite", is_flag=True, help="Replace an existing JSON file.")
@options.gpu_index
@options.terminal
@click.pass_context  # type: ignore[arg-type]  # it takes no **limits beside other parameters
def verify(
    ctx: click.Context,
    model: Path,
    exported: Path,
    experiment_spec: Path,
    key: str | None,
    image_dir: Path | None,
    batch_size: int | None,
    num: int | None,
    layers: int,
    json_file: Path | None,
    max_bad: int,
    overwrite: bool,
    gpu_index: tuple[int, ...],
    **limits: float | None,
) -> None:
    """Run MODEL and what was EXPORTED from it on the same images, and compare their detections.

    The images are the validation data of the spec, or those of -i DIR.  Both detect with the
    settings of inference_config, or with those that are fixed in the exported file.

    Exit code: 0 when all differences are within the limits, 1 when one is not, 2 when the
    comparison could not be made.
    """
    from frcnn_core.cli.differences import show, show_costs
    from frcnn_core.cli.progress import progress
    from frcnn_core.cli.running import announce, refuse_existing, warn_of_settings
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.errors import DataError
    from frcnn_core.plugin import installed
    from frcnn_core.spec import check, load

    spec = load.load(experiment_spec)
    config = spec.message.evaluation_config
    config.model = str(model)
    config.ClearField("trt_evaluation")
    if image_dir is None:
        announce(check.require(spec, installed(), "evaluate"))
    announce(check.require(spec, installed(), "export"))
    _require_files(model, exported)
    if json_file and not overwrite:
        refuse_existing(json_file)

    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.assemble.verification import open_pair
    from frcnn_core.cli.devices import use_one_gpu
    from frcnn_core.data import BadImages
    from frcnn_core.export import verify as run

    use_one_gpu(gpu_index)
    settings = assemble.detection_settings(spec.message.inference_config)
    pair = open_pair(model, exported, key or spec.message.enc_key, installed(), settings)
    warn_of_settings(exported, settings, pair.settings)
    batch_size = batch_size or config.batch_size or 1
    skipped: list[Any] = []
    bad_images = BadImages(max_bad)
    accumulators: tuple[dict[str, Accumulator], dict[str, Accumulator]] = ({}, {})
    if image_dir:
        images = _in_folder(image_dir, pair, batch_size, num, skipped)
    else:
        images = _of_spec(spec, pair, batch_size, num, bad_images)
        fresh = partial(assemble.accumulators, spec, installed(), pair.model.class_names)
        accumulators = fresh(), fresh()
    # What a runtime does not tell, its layers do.
    costs = () if pair.exported.precision else _costs(pair, images)
    precision = pair.exported.precision or ("int8" if costs else "fp32")
    asked = _limits(precision, limits, labelled=not image_dir)

    click.echo(f"Comparing {exported.name} ({precision}) with {model.name} on {images.source}")
    with progress("Verifying", images.count) as advance:
        report = run(
            pair.model.detect,
            pair.exported.detect,
            images.batches(),
            class_names=pair.model.class_names,
            settings=pair.settings,
            limits=asked,
            accumulators=accumulators,
            progress=advance,
        )
    for path, reason in skipped:
        click.secho(f"Skipped {path.name}: {reason}", fg="yellow", err=True)
    if bad := bad_images.summary():
        click.secho(bad, fg="yellow")
    if not report.num_images:
        raise DataError(f"None of {images.source} could be used.")
    show(report)
    if layers and precision == "int8" and not costs:
        click.echo("Measuring what int8 costs in each layer")
        costs = _costs(pair, images)
    keep_float = [cost.layer for cost in costs[:layers]]
    if keep_float:
        show_costs(costs, keep_float)
    if json_file:
        origin = {
            "spec": spec.path,
            "model": str(model),
            "exported": str(exported),
            "images": images.source,
            "precision": precision,
        }
        _write(report, json_file, origin, pair, costs, keep_float)
    _conclude(ctx, report, exported, model)


def _require_files(*paths: Path) -> None:
    """Said before TensorFlow is loaded.

    Raises:
        ModelFileError: one is not there.
    """
    from frcnn_core.errors import ModelFileError

    for path in paths:
        if not path.exists():
            raise ModelFileError(f"{path}: there is no such file.")


def _limits(precision: str, given: dict[str, float | None], *, labelled: bool) -> Limits:
    """What is asked of an export of this precision, after the flags.

    Raises:
        FrcnnError: nothing is, so any file would do.
    """
    from dataclasses import replace

    from frcnn_core.errors import FrcnnError
    from frcnn_core.export import Limits

    names = {"max_box": "box", "max_score": "score", "max_map_loss": "map_loss"}
    found = replace(
        Limits.of(precision),
        **{names[flag]: value for flag, value in given.items() if value is not None},
    )
    if labelled:
        return found
    if given["max_map_loss"] is not None:
        raise FrcnnError("--max-map-loss: images without labels (-i) have no mAP. Leave out one.")
    if found.box is None and found.score is None:
        raise FrcnnError(
            f"An {precision} file is judged by its mAP, and images without labels (-i) have none.\n"
            "  Leave out -i, or give limits of your own: --max-box PIXELS --max-score SCORE."
        )
    return replace(found, map_loss=None)


def _of_spec(
    spec: Spec, pair: Pair, batch_size: int, num: int | None, bad_images: BadImages
) -> VerificationImages:
    """The validation data."""
    from frcnn_core.assemble.verification import labelled_images
    from frcnn_core.cli.running import validation_data

    data = validation_data(spec, pair.model.class_names, bad_images.limit)
    first = "the first " if num and num < data.summary.count else "the "
    count = min(data.summary.count, num or data.summary.count)
    return labelled_images(
        data,
        pair.model.preprocessing,
        batch_size=batch_size,
        bad_images=bad_images,
        source=f"{first}{count} validation images of {spec.path}",
        count=count,
    )


def _in_folder(
    folder: Path, pair: Pair, batch_size: int, num: int | None, skipped: list
) -> VerificationImages:
    from frcnn_core.assemble.verification import folder_images
    from frcnn_core.inference import find_images

    paths, others = find_images(folder)
    skipped += others
    paths = paths[:num]
    return folder_images(
        paths,
        pair.model.preprocessing,
        batch_size=batch_size,
        skipped=skipped,
        source=f"{len(paths)} images of {folder}",
    )


def _costs(pair: Pair, images: VerificationImages) -> Sequence[LayerCost]:
    """What int8 costs in each layer, the costliest first; nothing where that cannot be told."""
    from frcnn_core.errors import FrcnnError

    try:
        return pair.layer_costs(images.calibration(COST_IMAGES))
    except FrcnnError as error:
        click.secho(f"What int8 costs in each layer is not known: {error}", fg="yellow", err=True)
        return ()


def _write(
    report: VerificationReport,
    path: Path,
    origin: dict[str, str],
    pair: Pair,
    costs: Sequence[LayerCost],
    keep_float: Iterable[str],
) -> None:
    import json
    from dataclasses import asdict

    from frcnn_core.files import write_whole

    content = origin | {"settings": asdict(pair.settings)} | report.as_dict()
    content["layer_costs"] = [asdict(cost) for cost in costs]
    content["keep_float"] = list(keep_float)
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    click.echo(f"Written to {path}")


def _conclude(ctx: click.Context, report: VerificationReport, exported: Path, model: Path) -> None:
    problems = report.problems()
    if not problems:
        click.secho(f"{exported.name} is within the limits of {model.name}.", fg="green")
        return
    click.secho(f"{exported.name} is not within the limits:", fg="red")
    for problem in problems:
        click.secho(f"  {problem}", fg="red")
    ctx.exit(DIFFERENT)
