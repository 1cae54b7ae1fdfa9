"""Options that several commands share, each a decorator, in the spelling of TLT and of TAO."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from frcnn_core.cli import terminal as terminal_module


class Several(click.Option):
    """An option that takes one or more values: ``--gpu_index 0 1``, or the flag repeated."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **(kwargs | {"multiple": True}))


def repeat_flags(command: click.Command, args: list[str]) -> list[str]:
    """``--gpu_index 0 1`` as ``--gpu_index 0 --gpu_index 1``, which is what click reads.

    Every word after the flag of a ``Several`` option, up to the next flag, is taken as its value.
    """
    flags = {flag for param in command.params if isinstance(param, Several) for flag in param.opts}
    repeated, open_flag, values = [], None, 0
    for word in args:
        if word in flags:
            open_flag, values = word, 0
        elif word.startswith("-"):
            open_flag = None
        elif open_flag:
            values += 1
            if values > 1:
                repeated.append(open_flag)
        repeated.append(word)
    return repeated


def typed(ctx: click.Context, *, but: Collection[str] = ()) -> list[str]:
    """The options that a command was given on the command line, to give them to another process.

    Args:
        but: names of options to leave out.
    """
    words = []
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name)
        if source is not click.core.ParameterSource.COMMANDLINE or param.name in but:
            continue
        flag = max(param.opts, key=len)
        if isinstance(param, click.Option) and param.is_flag:
            words.append(flag)
            continue
        value = ctx.params[param.name]
        values = value if param.multiple else [value]
        words += [f"{flag}={one}" for one in values]
    return words


def experiment_spec(command: Callable | None = None, *, required: bool = True) -> Callable:
    """``-e SPEC``, given to the command as ``experiment_spec: Path``."""
    option = click.option(
        "-e",
        "--experiment_spec",
        "--experiment_spec_file",
        "experiment_spec",
        required=required,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="SPEC",
        help="Experiment spec file.",
    )
    return option(command) if command else option


def json_file(text: str = "Write everything as JSON.") -> Callable:
    """``--json FILE``, given to the command as ``json_file: Path | None``."""
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=text,
    )


key = click.option(
    "-k",
    "--key",
    "--enc_key",
    "key",
    metavar="KEY",
    help="Key of encrypted model files; overrides enc_key of the spec.",
)
"""``-k KEY``, given to the command as ``key: str | None``."""

results_dir = click.option(
    "-r",
    "--results_dir",
    "results_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for everything the command writes; overrides the paths of the spec.",
)
"""``-r DIR``, given to the command as ``results_dir: Path | None``."""

max_bad = click.option(
    "--max-bad",
    "--max_bad",
    "max_bad",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Image files that may be missing, damaged or of another size, and do not count.",
)
"""``--max-bad N``, given to the command as ``max_bad: int``."""

gpu_index = click.option(
    "--gpu_index",
    cls=Several,
    type=click.IntRange(min=0),
    metavar="N [N ...]",
    help="GPUs to use, by number; the first one unless given.",
)
"""``--gpu_index 0 1``, given to the command as ``gpu_index: tuple[int, ...]``."""

gpus = click.option(
    "--gpus",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many GPUs to train on, or parts of a CPU; of all machines together.  [default: 1, or "
    "what the other flags need]",
)
"""``--gpus N``, given to the command as ``gpus: int | None``."""

num_processes = click.option(
    "-np",
    "--num_processes",
    "num_processes",
    type=int,
    default=-1,
    show_default=True,
    metavar="N",
    help="How many processes to train with; -1 means one per GPU, or with model_parallelism one "
    "per set of GPUs that holds the network.",
)
"""``-np N``, given to the command as ``num_processes: int``."""

hosts = click.option(
    "--hosts",
    metavar="NAME:N,...",
    help="Machines to train on and how many processes on each, e.g. a:2,b:2; by ssh, without a "
    "password, and with the same paths on each.",
)
"""``--hosts a:2,b:2``, given to the command as ``hosts: str | None``."""

network_interface = click.option(
    "--network_interface",
    metavar="NAME",
    help="What the machines of --hosts talk over, e.g. eth0; found out unless given.",
)
"""``--network_interface eth0``, given to the command as ``network_interface: str | None``."""

compress_gradients = click.option(
    "--compress_gradients",
    is_flag=True,
    help="Exchange gradients between processes in 16 bits.",
)
"""``--compress_gradients``, given to the command as ``compress_gradients: bool``."""

threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads that an operation of a process may use.  [default: the cores of the machine "
    "divided by its processes, without a GPU]",
)
"""``--threads N``, given to the command as ``threads: int | None``."""

use_amp = click.option(
    "--use_amp",
    is_flag=True,
    help="Mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU.",
)
"""``--use_amp``, given to the command as ``use_amp: bool``."""


def terminal(command: Callable) -> Callable:
    """``--log_file F`` and ``-v``, which take effect by themselves and reach no command."""
    log_file = click.option(
        "--log_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_copy_to_log_file,
        help="Append a copy of everything shown in the terminal to this file.",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_show_log,
        help="Show debugging messages, and those of TensorFlow.",
    )
    return log_file(verbose(command))


def _copy_to_log_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value:
        # The root context outlives the command, so that its error message is copied too.
        ctx.find_root().with_resource(terminal_module.copied_to(value))


def _show_log(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.find_root().with_resource(terminal_module.log_shown(verbose=value))
