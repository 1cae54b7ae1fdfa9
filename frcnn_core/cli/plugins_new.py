"""``frcnn plugins new``: the first version of a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.errors import FrcnnError

if TYPE_CHECKING:
    from typing import Any

    from frcnn_core.plugin import Registered
    from frcnn_core.plugin.discovery import Absent


@click.group()
def new() -> None:
    """Begin a plugin: write a package that works, to change step by step."""


@new.command()
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def backbone(name: str, directory: Path) -> None:
    """Write the package of a backbone called NAME into DIR, which must be empty or not exist."""
    import shlex

    from frcnn_core.scaffold import write_backbone

    _refuse_taken(name)
    for path in write_backbone(name, directory):
        click.echo(f"Written: {path}")
    folder = shlex.quote(str(directory))
    click.echo(
        "What to type next:\n"
        f"  pip install -e {folder}\n"
        f"  pytest {folder}\n"
        f"  frcnn plugins check {name}"
    )


def _refuse_taken(name: str) -> None:
    """No plugin of that name may be installed, nor a backbone, nor a module that it would need."""
    from importlib.util import find_spec

    from frcnn_core.plugin import installed
    from frcnn_core.scaffold import module_of

    module, found = module_of(name), installed()
    for entry in found.backbones.claims(name):
        raise FrcnnError(f"There is a backbone {name!r} already, from {entry.distribution}.")
    loaded: list[Registered[Any]] = [
        entry for registry in found.registries.values() for entry in registry
    ]
    others: list[Registered[Any] | Absent] = [*loaded, *found.broken, *found.hidden]
    for plugin in others:
        if plugin.plugin == name:
            raise FrcnnError(f"There is a plugin {name!r} already, from {plugin.distribution}.")
    if find_spec(module) is not None:
        raise FrcnnError(f"There is a module {module} already; choose another name.")
