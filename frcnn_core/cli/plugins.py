"""``frcnn plugins``: what is installed, where from, and what is wrong with it."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--kind",
    type=click.Choice(["backbone", "lr_schedule", "optimizer", "metric", "exporter"]),
    help="List one kind of component only.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def plugins(kind: str | None, as_json: bool) -> None:
    """List the components a spec can name, and where each comes from."""
    from frcnn_core.plugins import installed

    found = installed()
    components = [
        _describe(registry, entry)
        for key, registry in found.registries.items()
        if kind in (None, key)
        for entry in registry
    ]
    if as_json:
        _print_json(components, found)
    else:
        _print_table(components, found)


def _describe(registry, entry) -> dict:
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
    }


def _print_json(components: list[dict], found) -> None:
    import json

    absent = {
        "broken": [vars(plugin) for plugin in found.broken],
        "hidden": [vars(plugin) for plugin in found.hidden],
    }
    click.echo(json.dumps({"components": components, **absent}, indent=2))


def _print_table(components: list[dict], found) -> None:
    rows = [_row(component) for component in components]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    for row, component in zip(rows, components, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[3]]).rstrip()
        click.secho(line, fg="red" if component["clashes_with"] else None)
    for plugin in found.hidden:
        click.echo(f"hidden: {plugin}")
    for plugin in found.broken:
        click.secho(f"broken: {plugin}", fg="red")


def _row(component: dict) -> tuple[str, str, str, str]:
    variants = ",".join(component["variants"])
    notes = component["summary"]
    if component["missing"]:
        notes += f"  [needs {', '.join(component['missing'])}]"
    if component["clashes_with"]:
        notes += f"  [clashes with {', '.join(component['clashes_with'])}]"
    name = f"{component['name']}:{variants}" if variants else component["name"]
    return component["kind"], name, component["distribution"], notes
