"""``frcnn model``: what is in a model file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from frcnn_core.assemble import LayerDescription, ModelDescription

MAX_EPOCHS = 12
"""Of one training that are shown; JSON has all of them."""
WIDE = 160
"""Characters of a line where the output is no terminal: a file, or another program."""
NARROW = 80
"""Characters of a line that has no room for whole names of layers."""
_GIGA = 1e9


@click.group()
def model() -> None:
    """Look into model files."""


@model.command()
@click.argument("path", metavar="MODEL", type=click.Path(path_type=Path))
@options.key
@options.json_file("Write everything as JSON, all epochs and the spec included.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--layers/--no-layers", default=True, help="List the layers.  [default: layers]")
@click.option("--spec", "with_spec", is_flag=True, help="Print the spec it was trained with.")
@options.terminal
def show(
    path: Path,
    key: str | None,
    json_file: Path | None,
    overwrite: bool,
    layers: bool,
    with_spec: bool,
) -> None:
    """Tell what a model file holds.

    Its parts, layers, sizes and operations, classes and preprocessing, the plugins that made it,
    and how it was trained.
    """
    from frcnn_core.cli.running import refuse_existing
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import installed

    if told := _exported(path):
        click.echo(told)
        return
    if json_file and not overwrite:
        refuse_existing(json_file)
    load_tensorflow()
    from frcnn_core import assemble

    found = assemble.describe(path, key or "", installed())
    if json_file:  # first: whatever reads what is printed may stop early
        _write(found, path, json_file)
    _print(found, path, layers=layers)
    if with_spec:
        click.echo(f"\nSpec:\n{found.spec.rstrip()}")
    if json_file:
        click.echo(f"Written to {json_file}")


def _exported(path: Path) -> str:
    """What to say about a file that an exporter wrote; empty for any other."""
    from frcnn_core.model_files import Format, recognise

    more = {
        Format.SAVED_MODEL: f"saved_model_cli show --dir {path} --all shows its signatures.",
        Format.ONNX: "A viewer such as Netron shows its graph.",
        Format.TFLITE: "A viewer such as Netron shows its graph.",
        Format.ETLT: "",
        Format.ENGINE: "",
    }
    kind = recognise(path)
    if kind not in more:
        return ""
    return (
        f"{path} is {kind.value}, an export, which says nothing of layers and training.\n"
        f"  frcnn model show, with the .tlt that it was exported from, does. {more[kind]}".rstrip()
    )


def _print(found: ModelDescription, path: Path, *, layers: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    for line in _heading(found, path):
        console.print(line, soft_wrap=True)
    for problem in found.problems:
        click.secho(problem, fg="yellow")
    console.print(_parts(found))
    if layers:
        console.print(_layers(found, whole_names=console.width >= NARROW))
    _print_history(console, found.history)


def _heading(found: ModelDescription, path: Path) -> Iterator[str]:
    anchors = found.anchors
    size = f"{path.stat().st_size / 2**20:.1f} MiB"
    kind = "a checkpoint, which training can go on from" if found.resumable else "a model"
    yield f"{path}: {kind}, {found.arch}, {size}"
    yield f"Classes: {', '.join(found.class_names)}"
    yield f"Images: {found.preprocessing.describe()}"
    yield (
        f"Anchors: scales {_listed(anchors.scales)}; ratios {_listed(anchors.ratios)}; "
        f"targets times {_listed(found.regression_scale)}"
    )
    for made in found.provenance:
        package = f"{made.get('distribution', '')} {made.get('version', '')}".strip()
        kind = made["kind"].replace("_", " ")
        yield f"Plugin: {kind} {made['name']}, of {package or 'an unknown package'}"


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _parts(found: ModelDescription) -> Table:
    from rich.table import Table

    table = Table(
        title=f"Parts; operations of a detection in {found.height} x {found.width} pixels "
        f"(height x width) with {found.rois_per_image} RoIs"
    )
    table.add_column("Part")
    for heading in ("Layers", "Parameters", "Trainable", "GFLOPs"):
        table.add_column(heading, justify="right")
    for part in found.parts:
        table.add_row(
            part.name,
            str(len(part.layers)),
            f"{part.parameters:,}",
            _count(part.trainable_parameters),
            _gflops(part.operations),
        )
    table.add_section()
    known = [part.trainable_parameters for part in found.parts]
    trainable = [count for count in known if count is not None]
    table.add_row(
        "all",
        str(sum(len(part.layers) for part in found.parts)),
        f"{found.parameters:,}",
        _count(sum(trainable) if len(trainable) == len(known) else None),
        _gflops(found.operations),
    )
    return table


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _gflops(operations: int | None) -> str:
    return "?" if operations is None else f"{operations / _GIGA:.3g}"


def _layers(found: ModelDescription, *, whole_names: bool) -> Table:
    from rich.table import Table

    table = Table(title="Layers, and what each makes of one image or RoI")
    # Names are there to be copied, so other columns get narrow first.
    table.add_column("Layer", overflow="fold", no_wrap=whole_names)
    table.add_column("Type", overflow="fold")
    table.add_column("Output", justify="right")
    table.add_column("Parameters", justify="right")
    table.add_column("Notes", overflow="fold")
    for part in found.parts:
        for layer in part.layers:
            table.add_row(
                layer.name,
                layer.kind,
                _shape(layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "",
                ", ".join(_notes(layer)),
            )
        table.add_section()
    return table


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "?"
    return " x ".join("?" if side is None else str(side) for side in shape)


def _notes(layer: LayerDescription) -> Iterator[str]:
    if layer.frozen:
        yield "frozen"
    elif layer.frozen_statistics:
        yield "frozen statistics"
    if layer.regularizer:
        yield layer.regularizer
    if (quantized := layer.quantization) is None:
        return
    ranges = quantized.ranges
    if not ranges:
        reach = "no range yet"
    elif len(ranges) == 1:
        reach = f"range {ranges[0]:.4g}"
    else:
        reach = f"{len(ranges)} ranges {min(ranges):.4g} to {max(ranges):.4g}"
    yield f"{quantized.what} {quantized.bits} bits, {reach}"


def _print_history(console: Any, history: Sequence[Mapping[str, Any]]) -> None:
    if not history:
        return
    console.print("History:")
    for trained, events in groupby(history, lambda event: event["event"] == "trained"):
        if trained:
            console.print(_epochs(list(events)))
        else:
            for event in events:
                console.print(f"  {_happened(event)}", soft_wrap=True)


def _happened(event: Mapping[str, Any]) -> str:
    """An event as a line: what it is, and whatever it says."""
    parameters = f"{event['parameters']:,} parameters" if "parameters" in event else ""
    if event["event"] == "started":
        origin = f"from {event['file']} ({event['field']})" if "file" in event else "from scratch"
        return f"training of {event['arch']} started {origin}, {parameters}"
    if event["event"] == "pruned":
        return (
            f"pruned from {event['parameters_before']:,} to {parameters}: "
            f"threshold {event['threshold']:g}, normalizer {event['normalizer']}, "
            f"{event['equalization']}, granularity {event['granularity']}, "
            f"at least {event['min_num_filters']} filters"
        )
    told = {k: v for k, v in event.items() if k not in ("event", "parameters")}
    rest = ", ".join(f"{name} {value}" for name, value in told.items())
    return f"{event['event']}: " + ", ".join(filter(None, (rest, parameters)))


def _epochs(events: list[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table()
    terms = sorted(events[0]["losses"], key=lambda term: (term != "total", term))
    for heading in ("Epoch", *terms, "rate", "mAP"):
        table.add_column(heading.replace("_", " "), justify="right")
    shown = _some(events)
    for event in shown:
        mAP = event.get("mAP")
        table.add_row(
            str(event["epoch"]),
            *(f"{event['losses'][term]:.4f}" for term in terms),
            f"{event['learning_rate']:.2g}",
            "-" if mAP is None else f"{mAP:.4f}",
        )
    if len(shown) < len(events):
        table.caption = f"{len(shown)} of {len(events)} epochs; --json FILE has all"
    return table


def _some(events: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Evenly spaced ones, with the first, the last and the best."""
    if len(events) <= MAX_EPOCHS:
        return events
    best = max(range(len(events)), key=lambda place: events[place].get("mAP") or 0.0)
    last = len(events) - 1
    # One place is the best epoch's, if it is not among the evenly spaced ones.
    for count in (MAX_EPOCHS, MAX_EPOCHS - 1):
        places = {round(step * last / (count - 1)) for step in range(count)} | {best}
        if len(places) <= MAX_EPOCHS:
            break
    return [events[place] for place in sorted(places)]


def _write(found: ModelDescription, path: Path, json_file: Path) -> None:
    import json

    from frcnn_core.files import write_whole

    content = {"model": str(path), **found.as_dict()}
    write_whole(json_file, json.dumps(content, indent=2, allow_nan=False) + "\n")
