"""``frcnn convert``: an exported model to a TensorRT engine, by tlt-converter's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from frcnn_core.cli import options as shared
from frcnn_core.errors import FrcnnError


def _split(kind: type) -> Any:
    """A callback for words that commas separate."""

    def split(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple:
        words = [word.strip() for word in (value or "").split(",") if word.strip()]
        try:
            return tuple(kind(word) for word in words)
        except ValueError:
            raise click.BadParameter(
                f"expected whole numbers separated by commas, got {value!r}."
            ) from None

    return split


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "-k", "--key", default="", metavar="KEY", help="Key that the .etlt was exported with."
)
@click.option(
    "-d",
    "--dims",
    callback=_split(int),
    metavar="C,H,W",
    help="Channels, height and width of the input; checked against the model. May be left out.",
)
@click.option(
    "-o",
    "--outputs",
    callback=_split(str),
    metavar="NAME,...",
    help="Outputs, e.g. NMS; checked against the model. May be left out.",
)
@click.option(
    "-e",
    "--engine",
    type=click.Path(path_type=Path),
    default=Path("saved.engine"),
    metavar="FILE",
    help="Engine to write; must not exist.  [default: ./saved.engine]",
)
@click.option(
    "-t",
    "--data_type",
    "precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision. int8 takes a model that was exported with --data_type int8.",
)
@click.option(
    "-m",
    "--max_batch_size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images in the largest batch.  [default: 16, or what the model is fixed to]",
)
@click.option(
    "-w",
    "--workspace",
    type=click.IntRange(min=1),
    default=1 << 30,
    show_default=True,
    metavar="BYTES",
    help="Memory that a layer may use for itself; below 1024, in GiB.",
)
@click.option(
    "-p",
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME,MIN,OPT,MAX",
    help="Shapes of an input to build for, each like 1x3x384x1248; instead of -m. Repeat it for "
    "several inputs.",
)
@click.option(
    "-c",
    "--cache",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Calibration cache for int8 of a float model: TensorRT 10 only.  [default: ./cal.bin if "
    "there is one]",
)
@click.option(
    "-b",
    "--calibration_batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Batch size that the calibration cache was made with.",
)
@click.option(
    "-i",
    "--order",
    type=click.Choice(["nchw", "nhwc", "nc"]),
    default="nchw",
    show_default=True,
    help="Order of the input's dimensions.",
)
@click.option(
    "-s",
    "--strict",
    is_flag=True,
    help="Strict types: float32 is not computed as TF32, nor int8 of -c replaced by float16.",
)
@click.option(
    "-u",
    "--dla_core",
    type=click.IntRange(min=0),
    metavar="N",
    help="Deep learning accelerator to run on; what it cannot do runs on the GPU.",
)
@click.option(
    "--compute_capability",
    "compute_capabilities",
    callback=_split(str),
    metavar="N.N,...",
    help="GPUs to build for without having them, e.g. 8.6; TensorRT for RTX only.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Build nothing: tell whether the model can be parsed, by the parser that is installed.",
)
@shared.terminal
def convert(model: Path, check: bool, **given: Any) -> None:
    """Build a TensorRT engine from MODEL, an .onnx or .etlt that frcnn exported.

    The flags are those of tlt-converter. Run it on the machine whose GPU is to run the engine.
    """
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import installed

    entry = installed().exporters.entry("tensorrt", where="frcnn convert")
    exporter: Any = entry.component  # other exporters have neither check nor convert
    if given["cache"] is None and Path("cal.bin").exists():
        given["cache"] = Path("cal.bin")
    load_tensorflow()
    if check:
        report = exporter.check(model, given)
        click.echo(f"Parsed by {report.parser}")
        for line in report.lines:
            click.echo(f"  {line}")
        if not report.good:
            raise FrcnnError(f"{model} cannot be made into an engine.")
        return
    click.echo(f"Converting {model} to {given['engine']}; an engine takes minutes to build")
    for path in exporter.convert(model, given):
        click.echo(f"Written: {path}")
