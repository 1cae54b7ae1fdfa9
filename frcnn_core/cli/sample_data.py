"""``frcnn sample_data``: pictures, labels and specs to try everything out with."""

from __future__ import annotations

from pathlib import Path

import click

from frcnn_core.cli import options


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--images", default=400, show_default=True, help="Pictures to train and validate on.")
@click.option("--test", "test_images", default=12, show_default=True, help="Further pictures.")
@click.option("--width", default=320, show_default=True, help="Of each picture in pixels.")
@click.option("--height", default=192, show_default=True, help="Of each picture in pixels.")
@click.option("--val", "val_split", default=20.0, show_default=True, help="Percent to validate on.")
@click.option("--seed", default=0, show_default=True, help="The same seed draws the same pictures.")
@options.terminal
def sample_data(
    directory: Path,
    images: int,
    test_images: int,
    width: int,
    height: int,
    val_split: float,
    seed: int,
) -> None:
    """Draw street scenes into DIRECTORY, with labels, and specs to train a detector on them."""
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.sample_data import generate

    with progress_of("Drawing") as progress:
        data = generate(
            directory,
            images,
            num_test_images=test_images,
            width=width,
            height=height,
            val_split=val_split,
            seed=seed,
            progress=progress,
        )
    records = data.images.parent / "tfrecords" / "street"
    click.echo(
        f"{images} pictures are in {data.images}, their KITTI labels in {data.labels}.\n"
        "To train a detector on them:\n"
        f'  frcnn dataset_convert -d "{data.dataset_spec}" -o "{records}"\n'
        f'  frcnn train -e "{data.train_spec}" -r "{data.images.parent / "results"}"'
    )
