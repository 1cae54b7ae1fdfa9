"""``frcnn export``: a trained model in a deployment format.

Two spellings of one command: that of TLT and TAO, ``frcnn export -m MODEL -o OUTPUT``, where the
ending of OUTPUT chooses the exporter, and ``frcnn export FORMAT -m MODEL``, whose flags are that
exporter's options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from frcnn_core.cli import options as shared
from frcnn_core.errors import FrcnnError

# Flags of TLT's and TAO's export, by the exporter that has such an option.
_DOCUMENTED = {
    "tensorrt": (
        "--data_type",
        "--cal_data_file",
        "--cal_image_dir",
        "--cal_cache_file",
        "--cal_json_file",
        "--batches",
        "--batch_size",
        "--max_batch_size",
        "--min_batch_size",
        "--opt_batch_size",
        "--max_workspace_size",
        "--engine_file",
    ),
    "onnx": ("--static_batch_size", "--target_opset", "--onnx_route"),
}
_DOCUMENTED_SWITCHES = {
    "tensorrt": (("--force_ptq",), ("-s", "--strict_type_constraints")),
    "onnx": (("--gen_ds_config",),),
}


class _Formats(click.Group):
    """One subcommand for each installed exporter."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from frcnn_core.plugins import installed

        return [entry.component.name for entry in installed().exporters]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from frcnn_core.plugins import installed

        return _subcommand(installed().exporters.entry(cmd_name, where="frcnn export"))


def _common(command: Callable) -> Callable:
    """The flags of both spellings."""
    model = click.option(
        "-m", "--model", type=click.Path(path_type=Path), metavar="FILE", help="Trained model."
    )
    spec = shared.experiment_spec(required=False)
    output = click.option(
        "-o",
        "--output_file",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="File or folder to write; must not exist.  [default: the model's name with the "
        "ending of the format]",
    )
    results_dir = click.option(
        "-r",
        "--results_dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder for status.json, which is not written otherwise.",
    )
    for option in (shared.terminal, shared.gpu_index, results_dir, output, spec, shared.key):
        command = option(command)
    return model(command)


def _documented(command: Callable) -> Callable:
    """TLT's and TAO's flags, unlisted: ``frcnn export FORMAT --help`` lists what a format takes."""
    for flags in _DOCUMENTED.values():
        for flag in flags:
            command = click.option(flag, hidden=True)(command)
    for switches in _DOCUMENTED_SWITCHES.values():
        for switch in switches:
            command = click.option(*switch, is_flag=True, default=None, hidden=True)(command)
    return command


@click.group(cls=_Formats, invoke_without_command=True)
@_common
@click.option(
    "--format",
    "format_name",
    metavar="FORMAT",
    help="What to write; chosen by the ending of -o unless given.",
)
@_documented
@click.pass_context
def export(ctx: click.Context, format_name: str | None, **given: Any) -> None:
    """Write a trained model in a deployment format.

    Thresholds are those of the spec's inference_config; without -e, of the spec that the model
    was trained with.  Either name the format, `frcnn export FORMAT -m MODEL`, or leave it to the
    ending of -o, `frcnn export -m MODEL -o OUTPUT`.
    """
    if ctx.invoked_subcommand:
        if any(value for value in (format_name, *given.values())):
            raise click.UsageError(
                f"Give all flags after the format: frcnn export {ctx.invoked_subcommand} -m ..."
            )
        return
    common, own = _split(given)
    _require_model(common["model"])
    exporter = _chosen(format_name, common["output_file"])
    _refuse_foreign(own, exporter)
    _run(exporter, own, **common)


def _subcommand(exporter) -> click.Command:
    """``frcnn export NAME`` with a flag for each option of the exporter."""
    from frcnn_core.options import field_types

    def callback(**given: Any) -> None:
        common, own = _split(given)
        _require_model(common["model"])
        _run(exporter, own, **common)

    command = click.command(exporter.component.name, help=exporter.component.summary)
    kinds = field_types(exporter.component.Options)
    flags = [_flag(f, kinds[f.name]) for f in dataclasses.fields(exporter.component.Options)]
    built = command(_common(callback))
    built.params.extend(flags)
    return built


def _flag(field: dataclasses.Field, kind: Any) -> click.Option:
    from frcnn_core.options import describe

    text = field.metadata.get("help", "")
    if field.default not in (dataclasses.MISSING, None):
        text += f"  [default: {field.default}]"
    if kind is bool:
        names = [f"--{field.name}/--no-{field.name}"]
        return click.Option(names, default=None, help=text)
    required = field.default is field.default_factory is dataclasses.MISSING
    return click.Option(
        [f"--{field.name}"], metavar=describe(kind).upper(), help=text, required=required
    )


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the common flags, and those of an exporter's own that were given."""
    names = ("model", "output_file", "experiment_spec", "key", "results_dir", "gpu_index")
    common = {name: given[name] for name in names}
    return common, {k: v for k, v in given.items() if k not in names and v is not None}


def _require_model(model: Path | None) -> None:
    if model is None:
        raise click.UsageError("Name the model: frcnn export FORMAT -m MODEL [-o OUTPUT]")


def _chosen(format_name: str | None, output: Path | None):
    """The exporter that ``--format`` or the ending of ``-o`` names.

    Raises:
        FrcnnError: neither names one.
    """
    from frcnn_core.plugins import installed

    exporters = installed().exporters
    if format_name:
        return exporters.entry(format_name, where="--format")
    for entry in exporters:
        if output and output.suffix and output.suffix == entry.component.suffix:
            return exporters.entry(entry.component.name, where=f"-o {output}")
    formats = ", ".join(f"{entry.component.name} ({entry.component.suffix})" for entry in exporters)
    reason = "Without -o" if output is None else f"By the ending of -o {output}"
    raise FrcnnError(
        f"{reason} no format is chosen.\n  Installed: {formats or 'none'}.\n"
        "  Name one: frcnn export FORMAT -m MODEL"
    )


def _refuse_foreign(given: dict[str, Any], exporter) -> None:
    """No flag is taken that would do nothing.

    Raises:
        FrcnnError: the exporter has no such option; names those that do.
    """
    from frcnn_core.options import field_types
    from frcnn_core.plugins import installed

    problems = []
    for name in given.keys() - field_types(exporter.component.Options).keys():
        takers = [
            entry.component.name
            for entry in installed().exporters
            if name in field_types(entry.component.Options)
        ]
        problems.append(
            f"--{name}: {exporter.component.name} has no such option. "
            + (
                f"These have: {', '.join(takers)}."
                if takers
                else f"It is one of {_owner(name)}'s, which is not installed."
            )
        )
    if problems:
        raise FrcnnError("\n  ".join(sorted(problems)))


def _owner(name: str) -> str:
    """The exporter that a documented flag belongs to."""
    return next(
        owner
        for owner, flags in _DOCUMENTED.items()
        if any(f"--{name}" in flag for flag in (flags, *_DOCUMENTED_SWITCHES[owner]))
    )


def _run(
    exporter,
    given: dict[str, Any],
    *,
    model: Path,
    output_file: Path | None,
    experiment_spec: Path | None,
    key: str | None,
    results_dir: Path | None,
    gpu_index: tuple[int, ...],
) -> None:
    from contextlib import nullcontext

    from frcnn_core.options import parse
    from frcnn_core.status import StatusLog

    name = exporter.component.name
    if exporter.missing:
        raise FrcnnError(f"{name} needs {', '.join(exporter.missing)}: pip install 'frcnn[{name}]'")
    options = parse(exporter.component.Options, given, where=f"frcnn export {name}")
    output = output_file or model.with_suffix(exporter.component.suffix)
    if output.exists():
        raise FrcnnError(f"{output} exists. Give another name with -o, or move it away.")
    log = StatusLog(results_dir / "status.json") if results_dir else None
    with log.running("Export") if log else nullcontext():
        opened, settings = _open(model, experiment_spec, key, gpu_index)
        click.echo(f"Writing {model} as {name}")
        written = exporter.component.export(opened, output, settings=settings, options=options)
    for path in written:
        click.echo(f"Written: {path}")


def _open(
    path: Path, experiment_spec: Path | None, key: str | None, gpu_index: tuple[int, ...]
) -> tuple[Any, Any]:
    """The model in a file, and how it is to make detections."""
    from frcnn_core.cli.running import announce
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugins import installed
    from frcnn_core.spec import check, load

    spec = load.load(experiment_spec) if experiment_spec else None
    if spec:  # a mistake in it is told before TensorFlow is loaded
        announce(check.require(spec, installed(), "export"))
        key = key or spec.message.enc_key
    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.cli.devices import use_one_gpu

    use_one_gpu(gpu_index)
    model = assemble.open_model(path, key or "", installed())
    spec = spec or load.loads(model.spec, f"the spec in {path}")
    return model, assemble.detection_settings(spec.message.inference_config)
