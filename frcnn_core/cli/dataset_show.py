"""``frcnn dataset show``: pictures of what the network will see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from PIL.Image import Image

    from frcnn_core.assemble.show import Seen
    from frcnn_core.spec.load import Spec


@click.command()
@options.experiment_spec
@click.option(
    "--augmented",
    is_flag=True,
    help="Show each image as it is, and then as augmentation changes it.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="With --augmented: how many times each image is augmented.",
)
@click.option(
    "-n",
    "--images",
    "count",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many images, drawn from all.",
)
@click.option(
    "--split",
    type=click.Choice(["training", "validation"]),
    default="training",
    show_default=True,
    help="Which images.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("shown"),
    show_default=True,
    metavar="DIR",
    help="New or empty folder for the pictures.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Of the choice of images and of the augmentation; the spec's random_seed unless given.",
)
@click.option("--sheet", "only_sheet", is_flag=True, help="Write only the sheet with all pictures.")
@options.terminal
def show(
    experiment_spec: Path,
    augmented: bool,
    draws: int,
    count: int,
    split: Literal["training", "validation"],
    output: Path,
    seed: int | None,
    only_sheet: bool,
) -> None:
    """Write pictures of what the network will see of the data of SPEC.

    They are the network's input after all preprocessing, turned back into pixels: its size, its
    padding, its channels. Boxes are those that are trained on; the lines around difficult objects
    are dashed, and a dotted line is where padding begins.
    """
    if augmented and split == "validation":
        raise click.UsageError("Nothing is random in validation: leave out --augmented.")
    from frcnn_core.cli.running import announce
    from frcnn_core.errors import FrcnnError

    if output.exists() and any(output.iterdir()):
        raise FrcnnError(f"{output} exists and is not empty. Give another folder with -o.")
    from frcnn_core.cli.terminal import load_tensorflow

    load_tensorflow()
    from frcnn_core.assemble.show import require_shown, seen_by_network
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.plugin import installed
    from frcnn_core.spec.load import load

    spec, plugins = load(experiment_spec), installed()
    announce(require_shown(spec, plugins, split=split, augmented=augmented))
    seen = seen_by_network(
        spec,
        plugins,
        split=split,
        count=count,
        draws=draws if augmented else 0,
        seed=seed,
        progress=progress_of,
    )
    _write(list(seen), spec, output, only_sheet=only_sheet)


def _write(seen: list[Seen], spec: Spec, output: Path, *, only_sheet: bool) -> None:
    """The pictures, and a sheet: a row for each image that is augmented, else rows of four."""
    from frcnn_core.assemble import class_map
    from frcnn_core.files import whole
    from frcnn_core.inference import contact_sheet, draw_ground_truth

    def save(picture: Image, name: str) -> None:
        with whole(output / name) as temporary:
            picture.save(temporary, format="PNG")

    class_names = class_map(spec).names
    by_image: dict[int, list] = {}
    for one in sorted(seen, key=lambda one: (one.number, one.draw or 0)):
        picture = draw_ground_truth(one.pixels, one.truth, class_names, valid=one.size)
        stem = Path(one.truth.name).stem
        if not only_sheet:
            draw = "" if one.draw is None else f"_draw{one.draw}"
            save(picture, f"{one.number:03d}_{stem}{draw}.png")
        caption = stem if one.draw is None else f"{stem}, draw {one.draw}"
        by_image.setdefault(one.number, []).append((caption, picture))
    rows = list(by_image.values())
    if max(map(len, rows)) == 1:
        pictures = [picture for row in rows for picture in row]
        rows = [pictures[start : start + 4] for start in range(0, len(pictures), 4)]
    save(contact_sheet(rows), "sheet.png")
    what = "sheet.png" if only_sheet else f"{len(seen)} pictures and sheet.png"
    click.echo(f"{len(by_image)} images: {what} written to {output}.")
