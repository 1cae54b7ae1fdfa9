"""``frcnn dataset stats``: how many objects there are, how large, and in which images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options, surveying

if TYPE_CHECKING:
    from rich.table import Table

    from frcnn_core.survey.objects import ObjectTable
    from frcnn_core.survey.view import NetworkView

NUM_SAMPLES = 6
"""Images of each split on the page."""
MOST_SIZES = 10
"""Image sizes in the table."""


@click.command()
@surveying.dataset_spec
@options.experiment_spec(required=False)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with plots and sample images to this file.",
)
@surveying.json_file
@surveying.overwrite
@options.terminal
def stats(
    dataset_spec: Path | None,
    experiment_spec: Path | None,
    html_file: Path | None,
    json_file: Path | None,
    overwrite: bool,
) -> None:
    """Count the objects and images of SPEC, and measure the boxes.

    With -d boxes are measured in pixels of the image, with -e in network pixels. Labels are read,
    but images are only decoded to be shown.
    """
    surveying.require_new([html_file, json_file], overwrite=overwrite)
    data = surveying.data_of(dataset_spec, experiment_spec)
    data.require_sources()
    from frcnn_core.survey import statistics
    from frcnn_core.survey.objects import gather

    with surveying.progress_shown("Reading", json_file) as progress:
        table = gather(
            data.splits, data.view, num_samples=NUM_SAMPLES if html_file else 0, progress=progress
        )
    pixels = "image" if data.view is None else "network"
    if html_file:
        _write_page(table, data.view, dataset_spec, experiment_spec, html_file)
    if json_file:
        surveying.write_json(statistics.as_dict(table, pixels), json_file)
    if not surveying.is_stdout(json_file):
        _print(table, pixels)
        if html_file:
            click.echo(f"{html_file} written.")


def _write_page(
    table: ObjectTable,
    view: NetworkView | None,
    dataset_spec: Path | None,
    experiment_spec: Path | None,
    html_file: Path,
) -> None:
    from frcnn_core.files import write_whole
    from frcnn_core.survey.page import page

    anchors = None
    if experiment_spec is not None:
        from frcnn_core.detector import Anchors
        from frcnn_core.spec.load import load

        config = load(experiment_spec).message.model_config.anchor_box_config
        anchors = Anchors(tuple(config.scale), tuple(config.ratio))
    title = next(path.name for path in (dataset_spec, experiment_spec) if path)
    write_whole(html_file, page(table, title, view, anchors))


def _print(table: ObjectTable, pixels: str) -> None:
    from rich.console import Console

    console = Console()
    for one in (_objects(table), _boxes(table, pixels), _image_sizes(table)):
        console.print(one)
    for name, count in table.counts.items():
        for number, what in (
            (count.num_unreadable, "image(s) that cannot be read"),
            (count.num_without_area, "box(es) without an area in the image"),
            (count.num_crowds, "crowd(s)"),
            (count.left_out.total(), f"object(s) of other classes: {', '.join(count.left_out)}"),
        ):
            if number:
                click.echo(f"Not counted in {name}: {number} {what}.")


def _objects(table: ObjectTable) -> Table:
    from collections import Counter

    from rich.table import Table

    from frcnn_core.survey.statistics import mean_of, objects_by_split

    objects = objects_by_split(table)
    shown = Table(title="Objects")
    shown.add_column("class")
    for split in [*table.counts, "all"]:
        shown.add_column(split, justify="right")
    for name in table.class_names:
        numbers = [objects[split][name] for split in table.counts]
        shown.add_row(name, *map(str, numbers), str(sum(numbers)))
    shown.add_section()
    counts = list(table.counts.values())
    for name, numbers in {
        "all objects": [sum(objects[split].values()) for split in table.counts],
        "difficult objects": [count.num_difficult for count in counts],
        "images": [count.num_images for count in counts],
        "images without objects": [count.objects_per_image[0] for count in counts],
    }.items():
        shown.add_row(name, *map(str, numbers), str(sum(numbers)))
    per_image = [count.objects_per_image for count in counts]
    per_image.append(sum(per_image, Counter()))
    shown.add_row("objects per image", *(f"{mean_of(one):.2f}" for one in per_image))
    shown.add_row("most in an image", *(str(max(one, default=0)) for one in per_image))
    return shown


def _boxes(table: ObjectTable, pixels: str) -> Table:
    from rich.table import Table

    from frcnn_core.survey.statistics import QUANTILES, sizes_by_class

    shown = Table(title=f"Boxes, in {pixels} pixels; size: root of the area, shape: width / height")
    shown.add_column("class")
    shown.add_column("")
    for percent in QUANTILES:
        ranks = {0: "least", 50: "median", 100: "most"}
        shown.add_column(ranks.get(percent, f"{percent} %"), justify="right")
    words = {"ratio": "shape", "side": "size"}
    for name, measures in sizes_by_class(table).items():
        for number, (measure, values) in enumerate(measures.items()):
            cells = (f"{value:.3g}" for value in values)
            shown.add_row("" if number else name, words.get(measure, measure), *cells)
        shown.add_section()
    return shown


def _image_sizes(table: ObjectTable) -> Table:
    from collections import Counter

    from rich.table import Table

    shown = Table(title="Image sizes")
    shown.add_column("width x height")
    for split in table.counts:
        shown.add_column(split, justify="right")
    total = sum((count.image_sizes for count in table.counts.values()), Counter())
    for (height, width), _ in total.most_common(MOST_SIZES):
        numbers = [count.image_sizes[height, width] for count in table.counts.values()]
        shown.add_row(f"{width} x {height}", *map(str, numbers))
    if len(total) > MOST_SIZES:
        shown.add_row(f"and {len(total) - MOST_SIZES} more")
    return shown
