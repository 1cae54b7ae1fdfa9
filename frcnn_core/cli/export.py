"""``frcnn export``: a trained model in a deployment format.

Two spellings of one command: that of TLT and TAO, ``frcnn export -m MODEL -o OUTPUT``, where the
ending of OUTPUT chooses the exporter, and ``frcnn export FORMAT -m MODEL``, whose flags are that
exporter's options.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from frcnn_core.cli import options as shared
from frcnn_core.cli.exporting import Wanted, has_option, run
from frcnn_core.errors import FrcnnError

if TYPE_CHECKING:
    from frcnn_core.plugin import Exporter, Registered

RESERVED = {"verify": "frcnn_core.cli.verify:verify"}
"""Subcommands that are no format, as ``module:attribute``."""

# Flags of TLT's and TAO's export, by the exporter that an option of this name belongs to first.
_DOCUMENTED = {
    "onnx": (
        "--data_type",
        "--cal_data_file",
        "--cal_image_dir",
        "--cal_cache_file",
        "--cal_json_file",
        "--batches",
        "--batch_size",
        "--static_batch_size",
        "--target_opset",
    ),
    "tensorrt": (
        "--max_batch_size",
        "--min_batch_size",
        "--opt_batch_size",
        "--max_workspace_size",
    ),
}
_DOCUMENTED_SWITCHES = {
    "onnx": (("--force_ptq",), ("--gen_ds_config",)),
    "tensorrt": (("-s", "--strict_type_constraints"),),
}
_SHORT = {"strict_type_constraints": "-s"}

_FILES_OF_ONNX = ("cal_cache_file", "cal_json_file", "gen_ds_config")
"""What ``--engine_file`` does not ask for: the exporter of ``-o`` writes these."""


def _with_underscores(name: str) -> str:
    return name.replace("-", "_")


class _Formats(click.Group):
    """One subcommand for each installed exporter, and the reserved ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from frcnn_core.plugin import installed

        names = [entry.component.name for entry in installed().exporters]
        return [*(name for name in names if name not in RESERVED), *RESERVED]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from frcnn_core.plugin import installed

        if cmd_name in RESERVED:
            module, attribute = RESERVED[cmd_name].split(":")
            return getattr(importlib.import_module(module), attribute)
        return _subcommand(installed().exporters.entry(cmd_name, where="frcnn export"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = _with_underscores(error.option_name.lstrip("-"))
            if takers := _takers(name):
                text = (
                    f"Without a format there is no {error.option_name}. Type it after one that "
                    f"has it: frcnn export {takers[0]} -m MODEL {error.option_name} ..."
                )
                raise _in_words(error, text) from error
            raise


class _Format(click.Command):
    """``frcnn export NAME``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            takers = _takers(_with_underscores(error.option_name.lstrip("-")))
            if takers:
                text = (
                    f"{self.name} has no option {error.option_name}. These have: "
                    f"{', '.join(takers)}."
                )
                raise _in_words(error, text) from error
            raise


def _in_words(error: click.NoSuchOption, text: str) -> click.NoSuchOption:
    """The same error, told otherwise."""
    return click.NoSuchOption(error.option_name, text, error.possibilities, error.ctx)


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
        help="File or folder to write.  [default: the model's name with the ending of the format]",
    )
    force = click.option(
        "--force",
        is_flag=True,
        help="Replace the output, and files that are written beside it, where they exist.",
    )
    results_dir = click.option(
        "-r",
        "--results_dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder for status.json, which is not written otherwise.",
    )
    for option in (
        *(shared.terminal, shared.gpu_index, results_dir, force, output, spec, shared.key),
    ):
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


@click.group(
    cls=_Formats,
    invoke_without_command=True,
    # Flags may be typed with - for _; subcommands inherit it.
    context_settings={"token_normalize_func": _with_underscores},
)
@_common
@click.option(
    "--format",
    "format_name",
    metavar="FORMAT",
    help="What to write; chosen by the ending of -o unless given.",
)
@click.option(
    "--engine_file",
    type=click.Path(path_type=Path),
    metavar="ENGINE",
    help="Build a TensorRT engine too, for the GPU of this machine.",
)
@_documented
@click.option("--onnx_route", hidden=True)
@click.pass_context  # type: ignore[arg-type]  # it takes no **given beside other parameters
def export(
    ctx: click.Context,
    format_name: str | None,
    engine_file: Path | None,
    onnx_route: str | None,
    **given: Any,
) -> None:
    """Write a trained model in a deployment format.

    Either name the format, `frcnn export FORMAT -m MODEL`, or leave it to the ending of -o,
    `frcnn export -m MODEL -o OUTPUT`.  With neither it is etlt if a key is given with -k, as in
    TLT, and onnx if not.  Flags of TLT and TAO are taken as they are documented.

    Thresholds are those of the spec's inference_config; without -e, of the spec that the model
    was trained with.  A flag may be typed with - or _.
    """
    if ctx.invoked_subcommand:
        typed = (format_name, engine_file, onnx_route, *given.values())
        if any(value for value in typed):
            raise click.UsageError(
                f"Give all flags after the format: frcnn export {ctx.invoked_subcommand} -m ..."
            )
        return
    common, own = _split(given)
    _require_model(common["model"])
    if onnx_route:
        click.echo("--onnx_route is ignored: there is one way to ONNX.")
    exporter = _chosen(format_name, common["output_file"], common["key"])
    engine = _engine_exporter() if engine_file else None
    _refuse_foreign(own, exporter, engine)
    wanted = [Wanted(exporter, _of(own, exporter), common["output_file"])]
    if engine:
        # Files that both would write are those of -o.
        taken = [name for name in _FILES_OF_ONNX if has_option(exporter, name)]
        wanted.append(Wanted(engine, _of(own, engine, but=taken), engine_file))
    run(wanted, **_without(common, "output_file"))


def _subcommand(exporter: Registered[Exporter]) -> click.Command:
    """``frcnn export NAME`` with a flag for each option of the exporter."""
    from frcnn_core.plugin.options import field_types

    def callback(**given: Any) -> None:
        common, own = _split(given)
        _require_model(common["model"])
        wanted = Wanted(exporter, own, common["output_file"])
        run([wanted], **_without(common, "output_file"))

    name, text = exporter.component.name, exporter.component.summary
    command = click.command(name, cls=_Format, help=text)
    kinds = field_types(exporter.component.Options)
    flags = [
        _flag(field, kinds[field.name])
        for field in dataclasses.fields(exporter.component.Options)
        if field.name != "key"  # it gets that of -k
    ]
    built = command(_common(callback))
    built.params.extend(flags)
    return built


def _flag(field: dataclasses.Field, kind: Any) -> click.Option:
    text = field.metadata.get("help", "")
    if kind is bool:
        if field.default is True:
            text += "  [default: on]"
        names = [f"--{field.name}/--no-{field.name}"]
        if short := _SHORT.get(field.name):
            names.insert(0, short)
            names[1:] = [f"--{field.name}"]
        return click.Option(names, is_flag=True, default=None, help=text)
    if field.default not in (dataclasses.MISSING, None, ()):
        text += f"  [default: {_typed(field.default)}]"
    required = field.default is field.default_factory is dataclasses.MISSING
    return click.Option(
        [f"--{field.name}"],
        metavar=_placeholder(kind),
        help=text,
        required=required,
        multiple=_is_list(kind),
    )


def _is_list(kind: Any) -> bool:
    """Whether an option takes any number of values."""
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1] is Ellipsis


def _typed(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _placeholder(kind: Any) -> str:
    """What help shows for a value, e.g. ``[fp32|fp16]`` or ``N``."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"[{'|'.join(map(str, inner))}]"
    if origin is tuple:
        own = [_placeholder(one) for one in inner if one is not Ellipsis]
        return f"{own[0]},..." if _is_list(kind) else ",".join(own)
    if inner:  # an optional one
        return "|".join(_placeholder(one) for one in inner if one is not type(None))
    return {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}.get(kind, "VALUE")


_COMMON = ("model", "output_file", "experiment_spec", "key", "results_dir", "gpu_index", "force")


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the common flags, and those of an exporter's own that were given."""
    common = {name: given[name] for name in _COMMON}
    # Lists that were not given are empty; of those that were, each word may be a list too.
    own = {
        name: [word for one in value for word in one.split(",")] if type(value) is tuple else value
        for name, value in given.items()
        if name not in _COMMON and value is not None and value != ()
    }
    return common, own


def _without(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


def _require_model(model: Path | None) -> None:
    if model is None:
        raise click.UsageError("Name the model: frcnn export FORMAT -m MODEL [-o OUTPUT]")


def _chosen(format_name: str | None, output: Path | None, key: str | None) -> Registered[Exporter]:
    """The exporter that ``--format``, the ending of ``-o``, or ``-k`` without both names.

    Raises:
        FrcnnError: none is named.
    """
    from frcnn_core.plugin import installed

    exporters = installed().exporters
    if format_name:
        return exporters.entry(format_name, where="--format")
    if output is None:
        name = "etlt" if key else "onnx"
        reason = "with a key (-k)" if key else "without a key (-k)"
        chosen = exporters.entry(name, where=f"frcnn export without -o and {reason}")
        click.echo(f"The format is {name}, as in TLT without -o and {reason}.")
        return chosen
    claims = [
        entry.component.name
        for entry in exporters
        if entry.component.suffix and output.name.endswith(entry.component.suffix)
    ]
    if claims:
        # Of .onnx and .trt.onnx the longer one is meant.
        name = max(claims, key=lambda name: len(exporters.get(name).suffix))
        return exporters.entry(name, where=f"-o {output}")
    formats = ", ".join(f"{entry.component.name} ({entry.component.suffix})" for entry in exporters)
    raise FrcnnError(
        f"By the ending of -o {output} no format is chosen.\n  Installed: {formats or 'none'}.\n"
        "  Name one: frcnn export FORMAT -m MODEL"
    )


def _engine_exporter() -> Registered[Exporter]:
    """What ``--engine_file`` is written by.

    Raises:
        FrcnnError: it is not installed.
    """
    from frcnn_core.plugin import installed

    return installed().exporters.entry("tensorrt", where="--engine_file")


def _of(
    given: Mapping[str, Any], exporter: Registered[Exporter], *, but: Collection[str] = ()
) -> dict[str, Any]:
    """What of the flags is for an exporter."""
    return {k: v for k, v in given.items() if k not in but and has_option(exporter, k)}


def _takers(name: str) -> list[str]:
    """Exporters that have an option."""
    from frcnn_core.plugin import installed

    return [entry.component.name for entry in installed().exporters if has_option(entry, name)]


def _refuse_foreign(
    given: Mapping[str, Any], exporter: Registered[Exporter], engine: Registered[Exporter] | None
) -> None:
    """No flag is taken that would do nothing.

    Raises:
        FrcnnError: neither exporter has such an option; names those that do.
    """
    problems = []
    for name in given:
        if has_option(exporter, name) or (engine and has_option(engine, name)):
            continue
        takers = _takers(name)
        hint = (
            f"These have: {', '.join(takers)}."
            if takers
            else f"It is one of {_owner(name)}'s, which is not installed."
        )
        if "tensorrt" in takers:
            hint += " Or build an engine too, with --engine_file ENGINE."
        problems.append(f"--{name}: {exporter.component.name} has no such option. {hint}")
    if problems:
        raise FrcnnError("\n  ".join(sorted(problems)))


def _owner(name: str) -> str:
    """The exporter that a documented flag belongs to."""
    return next(
        owner
        for owner, flags in _DOCUMENTED.items()
        if any(f"--{name}" in flag for flag in (flags, *_DOCUMENTED_SWITCHES[owner]))
    )
