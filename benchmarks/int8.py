"""What int8 costs in accuracy and gains in speed, in ONNX Runtime or in another runtime.

    python -m benchmarks.int8 MODELS -e SPEC

A model that was trained in floating point is quantized after training, once with each range finder;
a model of quantization-aware training with the ranges that it learnt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, get_args

import click

from benchmarks import cases, machine, report
from benchmarks.cases import Case
from benchmarks.export_parity import networks
from benchmarks.processes import alone
from benchmarks.runtimes import in_turns
from frcnn_core.files import write_whole
from frcnn_core.plugin.int8 import RangeFinder

FLOAT = "float"
TRAINED = "trained"
"""Ranges of quantization-aware training."""
FINDERS: tuple[str, ...] = get_args(RangeFinder)
QUICK = Case("resnet:10", 160, 160, 1, training=False)


@dataclass(frozen=True)
class Asked:
    """What is to be measured."""

    format: str
    spec: str
    """File whose validation data are scored on, and whose training data calibrate."""
    finders: tuple[str, ...]
    """Range finders to try."""
    keep_float: tuple[str, ...]
    batches: int
    """To calibrate with."""
    rounds: int
    """Turns to time each in."""


@dataclass(frozen=True)
class Quantized:
    """A model in one precision."""

    arch: str
    model: str
    """Its file, or nothing for fresh weights."""
    ranges: str
    """``FLOAT``, ``TRAINED`` or a range finder."""
    mean_ap: float
    """What the first metric of the spec finds; NaN where nothing is labelled."""
    seconds: float
    """Median for one image."""

    def loss(self, whole: Sequence[Quantized]) -> float:
        """How much less it finds than the same model in float."""
        return self._float(whole).mean_ap - self.mean_ap

    def gain(self, whole: Sequence[Quantized]) -> float:
        """How many times as fast as the same model in float."""
        return self._float(whole).seconds / self.seconds

    def _float(self, whole: Sequence[Quantized]) -> Quantized:
        return next(
            one
            for one in whole
            if (one.arch, one.model, one.ranges) == (self.arch, self.model, FLOAT)
        )


def measure(network: str, asked: Asked) -> list[Quantized]:
    """A network in float and in int8, all in turns.  For a process of its own.

    Args:
        network: a model file, or an ``arch`` to draw with fresh weights.

    Raises:
        Unavailable: the format cannot be written or run here.
    """
    from benchmarks.export_parity import drawing
    from benchmarks.exported import exported
    from frcnn_core import assemble
    from frcnn_core.evaluation import evaluate
    from frcnn_core.plugin import Int8Options, installed
    from frcnn_core.quantization import quantization
    from frcnn_core.spec.load import load

    plugins, spec = installed(), load(Path(asked.spec))
    is_file = Path(network).exists()
    if is_file:
        model = assemble.open_model(Path(network), "", plugins)
    else:
        model = assemble.new_model(drawing(spec, network), plugins)
    data = assemble.evaluation_set(spec, plugins)
    settings = assemble.detection_settings(spec.message.evaluation_config)
    batch_size = spec.message.evaluation_config.batch_size
    learnt = quantization(model.detector.parts) is not None
    wanted: Mapping[str, Mapping[str, Any]] = {
        FLOAT: {"data_type": "fp32"},
        **(
            {TRAINED: {"data_type": "int8"}}
            if learnt
            else {finder: {"data_type": "int8", "range_finder": finder} for finder in asked.finders}
        ),
    }
    calibration = Int8Options(data_type="int8", batches=asked.batches)
    images = None if learnt else assemble.calibration_images(spec, model, calibration, plugins)
    one = next(iter(data.batches(model.preprocessing, 1)))
    accuracy, actions = {}, {}
    with TemporaryDirectory() as folder:
        for ranges, given in wanted.items():
            kept = {"keep_float": asked.keep_float} if ranges != FLOAT and asked.keep_float else {}
            runtime = exported(
                asked.format,
                model,
                Path(folder, ranges),
                settings=settings,
                images=images,
                **given,
                **kept,
            )
            accumulators = assemble.accumulators(spec, plugins, model.class_names)
            batches = data.batches(model.preprocessing, batch_size)
            accuracy[ranges] = evaluate(runtime.detect, batches, accumulators).primary
            actions[ranges] = lambda detect=runtime.detect: detect(one.images, one.sizes)
        seconds = in_turns(actions, asked.rounds)
    return [
        Quantized(
            model.arch,
            network if is_file else "",
            ranges,
            float(accuracy[ranges]),
            median(seconds[ranges]),
        )
        for ranges in wanted
    ]


@click.command()
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--quick", is_flag=True, help="A small network on few pictures: that it all runs.")
@click.option(
    "-e", "--spec", type=click.Path(path_type=Path), help="Whose data to calibrate and score on."
)
@click.option("--format", default="onnx", show_default=True, help="The exporter.")
@click.option(
    "--range_finder",
    "finders",
    multiple=True,
    type=click.Choice(FINDERS),
    default=FINDERS,
    show_default=True,
)
@click.option("--keep_float", multiple=True, metavar="LAYER", help="As frcnn export takes it.")
@click.option("--batches", default=10, show_default=True, help="To calibrate with, of 8 images.")
@click.option("--rounds", default=5, show_default=True, help="Turns to time each in.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(
    models: tuple[Path, ...],
    quick: bool,
    spec: Path | None,
    format: str,
    finders: tuple[str, ...],
    keep_float: tuple[str, ...],
    batches: int,
    rounds: int,
    output: Path | None,
) -> None:
    """Score MODELS, files or folders of them, in float and in int8 on the data of a spec."""
    if not quick and not (models and spec):
        raise click.UsageError("Give the models to score and their spec: MODELS -e SPEC")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    facts = machine.describe("onnxruntime", "openvino")
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
    found, failed = [], {}
    with TemporaryDirectory() as folder:
        if spec is None:
            pictures = Path(folder, "pictures")
            alone(cases.draw, pictures, QUICK.height, QUICK.width, 10)
            spec = pictures / "train_spec.txt"
        if quick:
            finders, batches, rounds = finders[:1], 1, 1
        asked = Asked(format, str(spec), finders, keep_float, batches, rounds)
        chosen = list(networks(models, (QUICK.arch,)))
        for number, network in enumerate(chosen, start=1):
            click.echo(f"{number}/{len(chosen)} {network}", err=True)
            try:
                found += alone(measure, network, asked)
            except Exception as error:  # the others are worth knowing still
                failed[network] = f"{type(error).__name__}: {error}"
    report.wide_console().print(table(found, format))
    click.echo(LEGEND)
    for network, reason in failed.items():
        click.echo(f"FAILED: {network}: {reason}")
    if output:
        rows = [asdict(one) | {"loss": one.loss(found), "gain": one.gain(found)} for one in found]
        numbers = {"machine": facts, "asked": asdict(asked), "rows": rows, "failed": failed}
        write_whole(output, json.dumps(numbers, indent=2) + "\n")
    if failed:
        raise SystemExit(1)


LEGEND = """\
"mAP" is that of the first metric of the spec on its validation data, "loss" how much less it is
than in float. "ms" is the median for one image, all taking turns, "gain" how many times as fast as
in float."""


def table(rows: Sequence[Quantized], format: str):
    """A row for each network and each way to find ranges."""
    found = report.empty_table(
        f"int8 in {format}", ["network", "ranges"], ["mAP", "loss", "ms", "gain"]
    )
    for one in rows:
        in_float = one.ranges == FLOAT
        found.add_row(
            *(one.arch, one.ranges, f"{one.mean_ap:.4f}"),
            "" if in_float else f"{one.loss(rows):.4f}",
            f"{1000 * one.seconds:.1f}",
            "" if in_float else f"{one.gain(rows):.2f}",
        )
    return found


if __name__ == "__main__":
    main()
