"""``frcnn weights``: other libraries' weights as ours, and whether weights make sense."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.assemble import Examination

RIGHT, WRONG = 0.5, 0.3
"""Median correlation from which weights count as right, and below which as wrong.  MobileNetV2's
had 0.71 on microscope pictures and 0.78 on drawn streets; read in a wrong order, below 0.1."""
CLEARLY = 0.5
"""A preprocessing is called better where it halves the divergence."""


@click.group()
def weights() -> None:
    """Bring in pretrained weights, and check that they make sense."""


@weights.command("import")
@click.argument(
    "source", metavar="SOURCE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "-a",
    "--arch",
    required=True,
    metavar="ARCH",
    help="Network to import them for, as in a spec: resnet:50, mobilenet_v2...",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.h5",
    help="File to write, for training_config.pretrained_weights.",
)
@click.option(
    "--without_head",
    is_flag=True,
    help="Leave out the layers after RoI pooling; they start afresh. The last layers of a "
    "classifier know its classes, which may be far from the objects to detect.",
)
@options.terminal
def import_(source: Path, arch: str, output: Path, without_head: bool) -> None:
    """Make weights for a backbone of those in SOURCE.

    SOURCE is a file of keras.applications (.h5, .hdf5, .keras), a PyTorch state dict in
    torchvision's layout (.pt, .pth, .safetensors), or a Darknet file (.weights).  The result
    computes what the source network did; the command says what the spec has to set for that.
    """
    from frcnn_core.cli.running import refuse_existing
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import arch as archs
    from frcnn_core.plugin import installed

    backbone, variant = archs.resolve(arch, installed().backbones, where="--arch")
    refuse_existing(output)
    load_tensorflow()
    from frcnn_core.weights import write_weights
    from frcnn_core.weights.importing import import_weights

    imported = import_weights(source, backbone, variant, with_head=not without_head)
    write_weights(output, imported.layers, imported.origin)
    click.echo(
        f"{imported.origin.source}: the weights of {len(imported.layers)} of "
        f"{imported.num_layers} layers of {arch}."
    )
    if imported.left_out:
        why = "Left out" if without_head else "Not in the file"
        click.echo(f"{why}, all of the head: {_some(imported.left_out)}.")
    if imported.unused:
        click.echo(f"Not needed: {imported.unused}.")
    if imported.advice:
        click.echo(imported.advice)
    click.echo(f"Wrote {output}. A spec that uses it says:\n\n{imported.origin.spec(str(output))}")


@weights.command()
@click.argument(
    "path", metavar="WEIGHTS", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@options.experiment_spec
@options.key
@click.option(
    "-i",
    "--images_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Images to look at; those of dataset_config.data_sources unless given.",
)
@click.option(
    "-n",
    "--num_images",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="How many images to look at.",
)
@options.terminal
@click.pass_context
def doctor(
    ctx: click.Context,
    path: Path,
    experiment_spec: Path,
    key: str | None,
    images_dir: Path | None,
    num_images: int,
) -> None:
    """Check that WEIGHTS make sense in the network of a spec, on its images; no labels needed.

    Weights of the right shapes can compute nonsense: their order, the strides or the preprocessing
    may differ from what they were trained with.  Each normalization layer remembers the variances
    it saw in training; here they are correlated with those it sees now.  Exits with 2 if the
    weights look wrong.
    """
    from frcnn_core.cli import EXIT_USER_ERROR
    from frcnn_core.cli.running import announce
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import installed
    from frcnn_core.spec import check, load

    spec = load.load(experiment_spec)
    spec.message.training_config.pretrained_weights = str(path)
    announce(check.require(spec, installed(), "weights"))
    load_tensorflow()
    from frcnn_core import assemble

    images = assemble.images_of(spec, num_images, images_dir)
    click.echo(f"Looking at {len(images)} images of {images[0].parent}")
    examination = assemble.examine_weights(
        spec, installed(), images, key=key or spec.message.enc_key
    )
    click.echo(examination.loaded.summary())
    _show_fits(examination)
    if not _show_verdict(examination):
        ctx.exit(EXIT_USER_ERROR)


def _show_fits(examination: Examination) -> None:
    click.echo(f"\n{'normalization':<40} {'channels':>8} {'correlation':>11} {'spread':>8}")
    for fit in examination.fits:
        correlation = "-" if fit.correlation is None else f"{fit.correlation:.2f}"
        click.echo(f"{fit.layer:<40} {fit.channels:>8} {correlation:>11} {fit.ratio:>7.2g}x")


def _show_verdict(examination: Examination) -> bool:
    """Say what it means; whether the weights may be right."""
    from statistics import median

    known = [fit.correlation for fit in examination.fits if fit.correlation is not None]
    if not known:
        click.echo(
            "\nThe file has no statistics to compare with: these weights were trained without "
            "batch normalization, or their layers were not loaded. Nothing can be said."
        )
        return True
    correlation = median(known)
    click.echo(f"\nMedian correlation: {correlation:.2f}.")
    if better := _better_preprocessing(examination):
        click.secho(better, fg="yellow")
    if correlation < WRONG:
        click.secho(
            "These weights look wrong: what the layers see has little to do with what they saw in "
            "training.\nAre they of this arch, and in this order? Do strides, padding and "
            "activation fit (model_config and its backbone_options)?",
            fg="red",
        )
    elif not better and correlation < RIGHT:
        click.secho("Doubtful: images unlike those of the training can cause this.", fg="yellow")
    elif not better:
        click.secho("The layers see what they saw in training: these weights fit.", fg="green")
    return correlation >= WRONG and not better


def _better_preprocessing(examination: Examination) -> str:
    """That other preprocessings fit clearly better, and what they are; empty if none does."""
    given = [guess for guess in examination.guesses if guess.name == "the spec"]
    better = [
        guess
        for guess in examination.guesses
        if given and guess.divergence < CLEARLY * given[0].divergence
    ]
    if not better:
        return ""
    lines = [
        f"  {guess.name} ({guess.divergence:.2g}): {guess.preprocessing.describe()}"
        for guess in [*better, *given]
    ]
    title = "The first layer fits better to images prepared otherwise (divergence, 0 is equal):"
    return "\n".join([title, *lines])


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f"... ({len(names)} in all)" if len(names) > 4 else "")
