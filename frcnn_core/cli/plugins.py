"""``frcnn plugins``: what is installed, where from, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from frcnn_core.cli.plugins_check import KIND, check
from frcnn_core.cli.plugins_new import new

if TYPE_CHECKING:
    from typing import Any

    from frcnn_core.plugin import Plugins, Registered, Registry
    from frcnn_core.plugin.discovery import Absent


@click.group(invoke_without_command=True)
@click.option("--kind", type=KIND, help="List one kind of component only.")
@click.option("--time", "with_times", is_flag=True, help="How long each plugin takes to load.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def plugins(ctx: click.Context, kind: str | None, with_times: bool, as_json: bool) -> None:
    """List the components a spec can name, and where each comes from.

    With a command after it: check a component, or begin a new one.
    """
    if ctx.invoked_subcommand:
        if kind or with_times or as_json:
            name = ctx.invoked_subcommand
            raise click.UsageError(f"Give all flags after the command: frcnn plugins {name} ...")
        return
    from frcnn_core.plugin import installed

    found = installed()
    components = [
        _describe(registry, entry)
        for key, registry in found.registries.items()
        if kind in (None, key)
        for entry in registry
    ]
    if as_json:
        _print_json(components, found, with_times)
    elif with_times:
        _print_times(components, found, kind)
    else:
        _print_table(components, found)


plugins.add_command(check)
plugins.add_command(new)


def _describe(registry: Registry[Any], entry: Registered[Any]) -> dict[str, Any]:
    others = [claim for claim in registry.claims(entry.component.name) if claim is not entry]
    return {
        "kind": registry.kind,
        "name": entry.component.name,
        "variants": list(getattr(entry.component, "variants", ())),
        "plugin": entry.plugin,
        "distribution": entry.distribution,
        "summary": entry.component.summary,
        "missing": list(entry.missing),
        "clashes_with": [other.distribution for other in others],
        "load_ms": _milliseconds(entry.seconds),
    }


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _print_json(components: list[dict[str, Any]], found: Plugins, with_times: bool) -> None:
    import json

    def told(values: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in values.items() if with_times or k != "load_ms"}

    def absent(plugin: Absent) -> dict[str, Any]:
        return told(
            {
                "plugin": plugin.plugin,
                "distribution": plugin.distribution,
                "reason": plugin.reason,
                "load_ms": _milliseconds(plugin.seconds),
            }
        )

    listing = {
        "components": [told(component) for component in components],
        "broken": [absent(plugin) for plugin in found.broken],
        "hidden": [absent(plugin) for plugin in found.hidden],
    }
    click.echo(json.dumps(listing, indent=2))


def _print_times(components: list[dict[str, Any]], found: Plugins, kind: str | None) -> None:
    """A line per plugin, the slowest first.  What its modules import is in its time; what an
    earlier plugin imported already is not."""
    provided: dict[tuple[str, str, float], list[str]] = {}
    for one in components:
        plugin = (one["plugin"], one["distribution"], one["load_ms"])
        provided.setdefault(plugin, []).append(one["name"])
    rows = [
        (milliseconds, plugin, distribution, ", ".join(names))
        for (plugin, distribution, milliseconds), names in provided.items()
    ]
    if kind is None:
        rows += [
            (_milliseconds(one.seconds), one.plugin, one.distribution, "broken")
            for one in found.broken
        ]
    rows.sort(reverse=True)
    cells = [(f"{milliseconds:.1f} ms".rjust(10), *rest) for milliseconds, *rest in rows]
    for line in _aligned(cells):
        click.echo(line)


def _print_table(components: list[dict[str, Any]], found: Plugins) -> None:
    lines = _aligned([_row(component) for component in components])
    for line, component in zip(lines, components, strict=True):
        click.secho(line, fg="red" if component["clashes_with"] else None)
    for plugin in found.hidden:
        click.echo(f"hidden: {plugin}")
    for plugin in found.broken:
        click.secho(f"broken: {plugin}", fg="red")


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Each row as a line, its cells under those of the row before."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(component: dict) -> tuple[str, str, str, str]:
    variants = ",".join(component["variants"])
    notes = component["summary"]
    if component["missing"]:
        notes += f"  [needs {', '.join(component['missing'])}]"
    if component["clashes_with"]:
        notes += f"  [clashes with {', '.join(component['clashes_with'])}]"
    name = f"{component['name']}:{variants}" if variants else component["name"]
    return component["kind"], name, component["distribution"], notes
