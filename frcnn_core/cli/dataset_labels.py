"""``frcnn dataset labels``: label files from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.data import LabelConversion
    from frcnn_core.plugin import LabelFormat


@click.command("labels")
@click.argument(
    "images", metavar="IMAGES", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.argument("labels", metavar="LABELS", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from",
    "source",
    metavar="FORMAT",
    help="Format of LABELS; told from the files unless given.",
)
@click.option("--to", "target", required=True, metavar="FORMAT", help="Format to write.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Folder or file to write.",
)
@click.option(
    "--from-option",
    "source_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format that is read; may be repeated.",
)
@click.option(
    "--to-option",
    "target_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format that is written; may be repeated.",
)
@click.option(
    "--skip-crowds",
    is_flag=True,
    help="Leave out the crowd boxes of COCO, which other formats cannot hold.",
)
@options.terminal
def labels(
    images: Path,
    labels: Path,
    source: str | None,
    target: str,
    output: Path,
    source_options: tuple[str, ...],
    target_options: tuple[str, ...],
    skip_crowds: bool,
) -> None:
    """Write the labels of a folder of images in another format.

    LABELS is a folder with a file for each image, as deep and of the same names, or one file for
    all.  Boxes stay as they are.  Nothing is written if a label or an image is bad.  `frcnn plugins
    --kind label_format` lists the formats.
    """
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.data import convert_labels
    from frcnn_core.data.label_files import refuse_existing
    from frcnn_core.plugin import installed
    from frcnn_core.plugin.label_formats import recognise

    formats = installed().label_formats
    refuse_existing(output)
    writer = formats.get(target, where="--to")
    reader = formats.get(source, where="--from") if source else recognise(labels, formats)
    given = _options(reader, source_options, "--from-option")
    wanted = _options(writer, target_options, "--to-option")
    opened = reader.open(labels, given)
    with progress_of("Reading") as progress:
        report = convert_labels(
            images,
            opened,
            lambda read, output: writer.write(read, output, wanted),
            output,
            skip_crowds=skip_crowds,
            progress=progress,
        )
    _show(report, reader.name, writer.name, output)


def _options(component: LabelFormat, pairs: tuple[str, ...], flag: str) -> Any:
    from frcnn_core.plugin.options import parse

    for pair in pairs:
        if "=" not in pair:
            raise click.UsageError(f"{flag} {pair}: write NAME=VALUE.")
    return parse(component.Options, dict(pair.split("=", 1) for pair in pairs), where=flag)


def _show(report: LabelConversion, source: str, target: str, output: Path) -> None:
    for count, words in (
        (report.num_not_listed, "image(s) that the labels do not list"),
        (report.num_crowds, "crowd box(es)"),
    ):
        if count:
            click.secho(f"Left out: {count} {words}.", fg="yellow", err=True)
    classes = ", ".join(f"{count} {name}" for name, count in report.objects.most_common())
    click.echo(
        f"{source} to {target}: {report.num_images} images with {report.objects.total()} objects"
        f"{f' ({classes})' if classes else ''}, {len(report.files)} file(s) written to {output}."
    )
