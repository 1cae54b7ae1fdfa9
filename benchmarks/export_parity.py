"""Whether exported detectors are the same as TensorFlow's, for every documented backbone.

    python -m benchmarks.export_parity MODELS -e SPEC -i IMAGES

Each model is exported, and both detect in the same images.  Detections are paired and compared by
``frcnn_core.export.verification``, as in ``frcnn export verify``.

Without MODELS the networks have fresh weights.  They are no detectors: the RoIs of an image have
nearly equal scores, and which of two boxes suppresses the other is then decided by the last bit.
So the outputs that become scores are scaled until they differ as much as a trained network's; what
is left of such ties shows as detections lost and gained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import cases, machine, report
from benchmarks.cases import Case
from benchmarks.processes import alone
from frcnn_core.files import write_whole

ARCHS = (
    *("resnet:10", "resnet:18", "resnet:34", "resnet:50", "resnet:101"),
    *("vgg:16", "vgg:19", "googlenet", "mobilenet_v1", "mobilenet_v2"),
    *("darknet:19", "darknet:53", "efficientnet:b0", "efficientnet:b1"),
)
"""What the documentation of TLT lists."""
HEIGHT, WIDTH, PICTURES = 256, 320, 12
"""Of the labelled pictures that are drawn where no spec is given, and how many."""
QUICK = Case("resnet:10", 160, 160, 1, training=False)
SPREAD = 3.0
"""Standard deviation that the logits of fresh weights get."""


@dataclass(frozen=True)
class Asked:
    """What is to be compared."""

    format: str
    data_type: str
    spec: str
    """File whose validation data are the labelled images."""
    image_dir: str
    """Folder of further images; empty for none."""
    batch_size: int
    num: int | None
    """Images of each set, the first ones; None for all."""


@dataclass(frozen=True)
class Parity:
    """What was found for one model on one set of images."""

    arch: str
    images: str
    num_images: int
    num_pairs: int
    box: float
    """Largest difference of a coordinate, in pixels of the original image."""
    score: float
    """Largest difference of a score."""
    num_lost: int
    num_gained: int
    num_borderline: int
    """Next to the score threshold, or to the last that there was room for."""
    mean_ap: float | None
    """Of TensorFlow; None where nothing is labelled."""
    mean_ap_exported: float | None
    problems: tuple[str, ...]
    """What is beyond the limits of this precision."""


def networks(models: Sequence[Path], archs: Sequence[str]) -> Iterator[str]:
    """Model files, one for each network: the newest; or networks to draw.

    Raises:
        click.BadParameter: a folder has no model in it.
    """
    for path in models:
        files = sorted(path.rglob("*.tlt"), key=lambda file: file.stat().st_mtime)
        if path.is_dir() and not files:
            raise click.BadParameter(f"{path} has no model file (*.tlt) in it.")
        newest = {file.parent: str(file) for file in files} if path.is_dir() else {path: str(path)}
        yield from newest.values()
    if not models:
        yield from archs


def compare(network: str, asked: Asked) -> list[Parity]:
    """A network in TensorFlow and as exported, on each set of images.

    For a process of its own.

    Args:
        network: a model file, or an ``arch`` to draw with fresh weights.
    """
    from benchmarks.exported import exported
    from frcnn_core import assemble
    from frcnn_core.assemble.verification import folder_images
    from frcnn_core.export import Limits, verify
    from frcnn_core.inference import find_images
    from frcnn_core.plugin import installed
    from frcnn_core.spec.load import load, loads

    plugins, spec = installed(), load(Path(asked.spec))
    data = assemble.evaluation_set(spec, plugins)
    if Path(network).exists():
        model = assemble.open_model(Path(network), "", plugins)
        config = loads(model.spec).message.inference_config
    else:
        model = assemble.new_model(drawing(spec, network), plugins)
        config = spec.message.inference_config
        spread(model.detector, next(iter(data.batches(model.preprocessing, 1))))
    settings = assemble.detection_settings(config)
    sets: list[tuple[str, Any, Any]] = [
        (
            "labelled",
            lambda: data.batches(model.preprocessing, asked.batch_size),
            lambda: assemble.accumulators(spec, plugins, model.class_names),
        )
    ]
    if asked.image_dir:
        folder = Path(asked.image_dir)
        found = folder_images(
            find_images(folder)[0],
            model.preprocessing,
            batch_size=asked.batch_size,
            skipped=[],
            source=str(folder),
        )
        sets.append((folder.name, found.batches, dict))
    detect = assemble.detect_function(model, settings)
    parities = []
    with TemporaryDirectory() as scratch:
        runtime = exported(
            asked.format,
            model,
            Path(scratch, "exported"),
            settings=settings,
            images=_calibration(spec, model) if asked.data_type == "int8" else None,
            data_type=asked.data_type,
        )
        for name, batches, accumulators in sets:
            most = None if asked.num is None else -(-asked.num // asked.batch_size)
            outcome = verify(
                detect,
                runtime.detect,
                islice(batches(), most),
                class_names=model.class_names,
                settings=settings,
                limits=Limits.of(asked.data_type),
                accumulators=(accumulators(), accumulators()),
            )
            parities.append(_parity(model.arch, name, outcome))
    return parities


def _parity(arch: str, images: str, outcome: Any) -> Parity:
    overall = outcome.differences.overall
    main = next(iter(outcome.model), None)
    return Parity(
        arch=arch,
        images=images,
        num_images=outcome.num_images,
        num_pairs=overall.num_pairs,
        box=overall.box.largest,
        score=overall.score.largest,
        num_lost=overall.num_lost,
        num_gained=overall.num_gained,
        num_borderline=overall.num_borderline,
        mean_ap=outcome.model[main].primary if main else None,
        mean_ap_exported=outcome.exported[main].primary if main else None,
        problems=tuple(outcome.problems()),
    )


def drawing(spec: Any, arch: str) -> Any:
    """The same spec for another network."""
    from dataclasses import replace

    message = type(spec.message)()
    message.CopyFrom(spec.message)
    message.model_config.arch = arch
    return replace(spec, message=message)


def _calibration(spec: Any, model: Any) -> Any:
    from frcnn_core import assemble
    from frcnn_core.plugin import Int8Options, installed

    return assemble.calibration_images(spec, model, Int8Options(data_type="int8"), installed())


def spread(detector: Any, batch: Any) -> None:
    """Scale the weights of both classifications until their logits vary by ``SPREAD``.

    Args:
        batch: images to see how much they vary.
    """
    import numpy as np
    import tensorflow as tf

    maps = detector.features(batch.images, training=False)
    side = detector.head.inputs[0].shape[1]
    # Crops where the map is cut into squares: enough to see the size of what the head answers.
    crops = tf.image.extract_patches(
        maps, [1, side, side, 1], [1, side, side, 1], [1, 1, 1, 1], "VALID"
    )
    crops = tf.reshape(crops, [-1, side, side, maps.shape[-1]])
    for part, given, name in (
        (detector.rpn, maps, "rpn_out_class"),
        (detector.head, crops, "dense_class"),
    ):
        logits = part(given, training=False)[0]
        layer = part.get_layer(name)
        layer.kernel.assign(layer.kernel * (SPREAD / max(float(np.std(logits)), 1e-6)))


@click.command()
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--quick", is_flag=True, help="A small network on few pictures: that it all runs.")
@click.option(
    "-e", "--spec", type=click.Path(path_type=Path), help="Whose validation images are labelled."
)
@click.option("-i", "--image_dir", default="", metavar="DIR", help="Folder of further images.")
@click.option("--arch", "archs", multiple=True, help="Network to draw, where no MODELS are given.")
@click.option("--format", default="onnx", show_default=True, help="The exporter.")
@click.option(
    "--data_type",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="The precision.",
)
@click.option("--num", type=int, help="So many images of each set.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(
    models: tuple[Path, ...],
    quick: bool,
    spec: Path | None,
    image_dir: str,
    archs: tuple[str, ...],
    format: str,
    data_type: str,
    num: int | None,
    output: Path | None,
) -> None:
    """Compare MODELS, files or folders of them, with what is exported from them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    facts = machine.describe("onnxruntime", "tf2onnx", "onnx")
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
    chosen = list(networks(models, archs or ((QUICK.arch,) if quick else ARCHS)))
    console, found, failed = report.wide_console(), [], {}
    with TemporaryDirectory() as folder:
        if spec is None:
            size = (QUICK.height, QUICK.width, 4) if quick else (HEIGHT, WIDTH, PICTURES)
            spec = _drawn(Path(folder), *size)
        asked = Asked(format, data_type, str(spec), image_dir, batch_size=4, num=num)
        for number, network in enumerate(chosen, start=1):
            click.echo(f"{number}/{len(chosen)} {network}", err=True)
            try:
                found += alone(compare, network, asked)
            except Exception as error:  # the others are worth knowing still
                failed[network] = f"{type(error).__name__}: {error}"
    console.print(table(found, format, data_type))
    click.echo(LEGEND)
    for parity in found:
        for problem in parity.problems:
            click.echo(f"{parity.arch}, {parity.images}: {problem}")
    for network, reason in failed.items():
        click.echo(f"FAILED: {network}: {reason}")
    if output:
        numbers = {
            "machine": facts,
            "asked": asdict(asked),
            "parities": [asdict(parity) for parity in found],
            "failed": failed,
        }
        write_whole(output, json.dumps(numbers, indent=2) + "\n")
    if failed:
        raise SystemExit(1)


LEGEND = """\
"box" is the largest difference of a coordinate in pixels of the original image, "score" that of a
score, over all pairs of detections. "lost" and "gained" have no partner in the other detector,
"borderline" none either, but for being next to the score threshold or the last that fit."""


def _drawn(folder: Path, height: int, width: int, number: int) -> Path:
    """The spec of pictures that are drawn; a fifth of them are its validation data."""
    pictures = folder / "pictures"
    alone(cases.draw, pictures, height, width, 5 * number)
    return pictures / "train_spec.txt"


def table(parities: Sequence[Parity], format: str, data_type: str):
    """A row for each network and set of images."""
    found = report.empty_table(
        f"TensorFlow and {format} {data_type}",
        ["network", "images"],
        [
            *("number", "pairs", "box, px", "score", "lost", "gained", "borderline"),
            *("mAP", "exported"),
        ],
    )
    for one in parities:
        found.add_row(
            *(one.arch, one.images, str(one.num_images), f"{one.num_pairs:,}"),
            *(f"{one.box:.5f}", f"{one.score:.6f}"),
            *(str(one.num_lost), str(one.num_gained), str(one.num_borderline)),
            *(
                "" if value is None else f"{value:.4f}"
                for value in (one.mean_ap, one.mean_ap_exported)
            ),
        )
    return found


if __name__ == "__main__":
    main()
