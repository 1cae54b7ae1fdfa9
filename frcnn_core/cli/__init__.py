"""The ``frcnn`` command.

A command lives in a module of its own that is imported when the command is asked for.  Such a
module imports ``click`` at its top and everything else inside the function, so that ``frcnn
--help`` answers at once.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import Any

import click

from frcnn_core.cli.options import repeat_flags
from frcnn_core.errors import FrcnnError

COMMANDS = {
    "train": "frcnn_core.cli.train:train",
    "evaluate": "frcnn_core.cli.evaluate:evaluate",
    "inference": "frcnn_core.cli.inference:inference",
    "prune": "frcnn_core.cli.prune:prune",
    "model": "frcnn_core.cli.model:model",
    "dataset_convert": "frcnn_core.cli.dataset_convert:dataset_convert",
    "dataset": "frcnn_core.cli.dataset:dataset",
    "anchors": "frcnn_core.cli.anchors:anchors",
    "export": "frcnn_core.cli.export:export",
    "convert": "frcnn_core.cli.convert:convert",
    "weights": "frcnn_core.cli.weights:weights",
    "plugins": "frcnn_core.cli.plugins:plugins",
    "spec": "frcnn_core.cli.spec:spec",
    "sample_data": "frcnn_core.cli.sample_data:sample_data",
}
"""Where each command is defined, as ``module:attribute``, in the order ``--help`` lists them."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and words errors for users."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            ctx.fail(f"No such command {args[0]!r}. {hint}Commands: {', '.join(COMMANDS)}.")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, repeat_flags(command, rest) if command else rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a ``FrcnnError`` becomes its message and exit code 2.

        Any other exception is a bug in frcnn or in a plugin, and keeps its traceback.
        """
        try:
            return super().invoke(ctx)
        except FrcnnError as error:
            click.secho(f"Error: {error}", fg="red", err=True)
            ctx.exit(EXIT_USER_ERROR)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="frcnn")
def main() -> None:
    """Train, evaluate and export Faster R-CNN detectors described by TLT / TAO spec files."""
