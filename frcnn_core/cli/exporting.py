"""From the flags of ``frcnn export`` to the files that it writes, each whole or not at all."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_core.errors import FrcnnError

if TYPE_CHECKING:
    from frcnn_core.plugin import Exporter, Registered

logger = logging.getLogger(__name__)

_NOT_FOR_CALIBRATION = {"cal_cache_file", "cal_json_file", "force_ptq", "keep_float"}
"""Of the flags of int8, what is not for ranges that are measured."""


@dataclass(frozen=True)
class Wanted:
    """A file or folder that is asked for."""

    exporter: Registered[Exporter]
    given: Mapping[str, Any]
    """Values by option, as typed."""
    output: Path | None
    """None is the model's name with the ending of the format."""


@dataclass(frozen=True)
class _Target:
    """A file or folder to write."""

    component: Exporter
    options: Any
    output: Path

    @property
    def writes(self) -> Sequence[Path]:
        """Every file and folder that may be written for it."""
        return self.component.writes(self.output, self.options)


def run(
    wanted: Sequence[Wanted],
    *,
    model: Path,
    experiment_spec: Path | None,
    key: str | None,
    results_dir: Path | None,
    gpu_index: tuple[int, ...],
    force: bool,
) -> None:
    """Export a model to everything that is wanted, in that order.

    A failure leaves what was written for those before, and what was there before in the place of
    its own.

    Args:
        force: what exists may be replaced.

    Raises:
        FrcnnError: flags, spec, model, images or a format do not go together, or something exists.
    """
    from contextlib import nullcontext

    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.files import set_aside
    from frcnn_core.training import StatusLog

    for one in wanted:
        one.exporter.require()
    spec, key = _read_spec(experiment_spec, key)
    targets = [_target(one, model, key) for one in wanted]
    outputs = [target.output for target in targets]
    _replaced(outputs, outputs, model, force=force)
    for one in wanted:
        _warn_of_int8(one.given)
    log = StatusLog(results_dir / "status.json") if results_dir else None
    with log.running("Export") if log else nullcontext():
        load_tensorflow()  # exporters may need it to say what else they write
        replaced = _replaced(
            [path for target in targets for path in target.writes], outputs, model, force=force
        )
        opened, spec, settings = _open(model, spec, key, gpu_index)
        images = _images(targets, wanted, opened, spec)
        for one, target in zip(wanted, targets, strict=True):
            options = _completed(target.options, one.given, spec)
            click.echo(f"Writing {model} as {target.component.name}")
            with set_aside(path for path in target.writes if path in replaced):
                written = target.component.export(
                    opened,
                    target.output,
                    settings=settings,
                    options=options,
                    **({"images": images} if _calibrates(target, opened) else {}),
                )
            for path in written:
                click.echo(f"Written: {path}")


def has_option(exporter: Registered[Exporter], name: str) -> bool:
    """Whether an exporter has an option."""
    return name in {field.name for field in dataclasses.fields(exporter.component.Options)}


def _read_spec(path: Path | None, key: str | None) -> tuple[Any, str]:
    """The spec that is given, and the key; a mistake is told before TensorFlow is loaded."""
    from frcnn_core.cli.running import announce
    from frcnn_core.plugin import installed
    from frcnn_core.spec import check, load

    if path is None:
        return None, key or ""
    spec = load.load(path)
    announce(check.require(spec, installed(), "export"))
    return spec, key or spec.message.enc_key


def _target(wanted: Wanted, model: Path, key: str) -> _Target:
    """What is asked for, checked as far as that goes without the model.

    Raises:
        FrcnnError: a value is none of its option's.
    """
    from frcnn_core.plugin.options import parse

    exporter, given = wanted.exporter, dict(wanted.given)
    component = exporter.component
    if has_option(exporter, "key"):
        if not key:
            raise FrcnnError(
                f"{component.name} files are encrypted: give a key with -k KEY, or with enc_key of "
                "the spec (-e)."
            )
        given["key"] = key
    options: Any = parse(component.Options, given, where=f"frcnn export {component.name}")
    output = wanted.output or model.with_suffix(component.suffix)
    return _Target(component, options, output)


def _replaced(
    places: Sequence[Path], outputs: Sequence[Path], model: Path, *, force: bool
) -> set[Path]:
    """Those of the places that are taken, and may be replaced.

    Args:
        places: of files and folders that will be written.
        outputs: those of them that the user has named with ``-o``, or might.

    Raises:
        FrcnnError: one may not be replaced, or two files would have one place.
    """
    resolved = [path.resolve() for path in places]
    if model.resolve() in resolved:
        raise FrcnnError(f"{model} is the model itself. Give another name with -o.")
    if twice := [path for path in places if resolved.count(path.resolve()) > 1]:
        raise FrcnnError(f"{twice[0]} would be written twice. Give one of them another name.")
    existing = [path for path in places if path.exists()]
    if existing and not force:
        option = " with -o" if existing[0] in outputs else ""
        raise FrcnnError(
            f"{existing[0]} exists. Give another name{option}, move it away, or replace it with "
            "--force."
        )
    return set(existing)


def _of_int8() -> list[str]:
    """The flags that have no effect without ``--data_type int8``."""
    from frcnn_core.plugin import Int8Options

    return [f.name for f in dataclasses.fields(Int8Options) if f.name != "data_type"]


def _warn_of_int8(given: Mapping[str, Any]) -> None:
    """Tell what has no effect in floating point."""
    vain = [f"--{name}" for name in _of_int8() if name in given]
    if vain and given.get("data_type") != "int8":
        logger.warning("No effect without --data_type int8: %s.", ", ".join(vain))


def _open(path: Path, spec: Any, key: str, gpu_index: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The model in a file, the spec that counts, and how detections are to be made."""
    from frcnn_core import assemble
    from frcnn_core.cli.devices import use_one_gpu
    from frcnn_core.plugin import installed
    from frcnn_core.spec import load

    use_one_gpu(gpu_index)
    model = assemble.open_model(path, key, installed())
    spec = spec or load.loads(model.spec, f"the spec in {path}")
    return model, spec, assemble.detection_settings(spec.message.inference_config)


def _completed(options: Any, given: Mapping[str, Any], spec: Any) -> Any:
    """Options, of which the spec has one: ``inference_config.nms_score_bits``."""
    name, config = "nms_score_bits", spec.message.inference_config
    if name in given or getattr(options, name, None) in (None, getattr(config, name)):
        return options
    return dataclasses.replace(options, **{name: getattr(config, name)})


def _calibrates(target: _Target, model: Any) -> bool:
    """Whether ranges of int8 have to be measured for it."""
    from frcnn_core.plugin import Int8Options

    return isinstance(target.options, Int8Options) and target.options.calibrates(model)


def _images(targets: Sequence[_Target], wanted: Sequence[Wanted], model: Any, spec: Any) -> Any:
    """What ranges are measured on, or None where none have to be."""
    from frcnn_core import assemble
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.plugin import installed

    measured = [target for target in targets if _calibrates(target, model)]
    if not measured:
        given = wanted[0].given
        names = [name for name in _of_int8() if name not in _NOT_FOR_CALIBRATION]
        vain = [f"--{name}" for name in names if name in given]
        if vain and given.get("data_type") == "int8":
            logger.warning(
                "The model was trained with quantization, and its own ranges are written. No "
                "effect without --force_ptq: %s.",
                ", ".join(vain),
            )
        return None
    images = assemble.calibration_images(
        spec, model, measured[0].options, installed(), progress=progress_of
    )
    click.echo(f"Calibrating int8 on {images.num_batches} batches of images from {images.source}")
    return images
