"""``frcnn plugins check``: the contract of a component, check by check."""

from __future__ import annotations

from typing import Any

import click

from frcnn_core.cli import options
from frcnn_core.errors import FrcnnError

KIND = click.Choice(["backbone", "lr_schedule", "optimizer", "metric", "exporter", "label_format"])

_COLORS = {"ok": "green", "skipped": "yellow", "failed": "red"}
_WITHOUT_TENSORFLOW = ("lr_schedule", "metric", "label_format")


@click.command()
@click.argument("name")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="V",
    help="Check this variant only; may be repeated.  [default: all of them]",
)
@click.option("--kind", type=KIND, help="For a name that several kinds of component have.")
@click.option(
    "--option",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the component; may be repeated.  Numbers that it demands are made up.",
)
@options.terminal
@click.pass_context
def check(
    ctx: click.Context, name: str, variants: tuple[str, ...], kind: str | None, given: tuple
) -> None:
    """Check that the component NAME does all that frcnn relies on.

    Runs the tests that a plugin's author subclasses from frcnn_core.testing, each a line of the
    report.  Exits with 2 if one fails.
    """
    from importlib.util import find_spec

    from frcnn_core.cli import EXIT_USER_ERROR
    from frcnn_core.plugin import installed

    found, entry = installed().entry(name, kind or "")
    fields: dict[str, Any] = {"given": _pairs(given)}
    if variants:
        fields["only_variants"] = _known(variants, entry.component)
    if find_spec("pytest") is None:
        raise FrcnnError("The checks run on pytest: pip install 'frcnn[testing]'")
    if entry.missing and found.key != "exporter":  # of an exporter, some checks go without
        raise FrcnnError(f"{name} needs {', '.join(entry.missing)}, which this Python lacks.")

    if found.key not in _WITHOUT_TENSORFLOW:
        from frcnn_core.cli.terminal import load_tensorflow

        load_tensorflow()
    from frcnn_core.plugin import conformance

    def suite() -> type:
        from frcnn_core.testing.suites import suite

        return suite(found.key, entry.component, **fields)

    report = _Report(name, f"{found.words} {name}, from {entry.distribution}")
    counts = conformance.run(suite, started=report.started, finished=report.finished)
    failed = counts["failed"]
    summary = f"{counts.total()} checks: " + ", ".join(
        f"{counts[result]} {result}" for result in _COLORS if counts[result]
    )
    click.secho(f"{name}: {summary}.", fg=_COLORS["failed" if failed else "ok"])
    if failed:
        ctx.exit(EXIT_USER_ERROR)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    """``("lr=0.1",)`` as ``{"lr": "0.1"}``."""
    for pair in given:
        if "=" not in pair:
            raise click.UsageError(f"--option {pair}: write NAME=VALUE.")
    return dict(pair.split("=", 1) for pair in given)


def _known(variants: tuple[str, ...], component: Any) -> tuple[str, ...]:
    known = getattr(component, "variants", ())
    for variant in variants:
        if variant not in known:
            choices = f"Choose from: {', '.join(known)}." if known else "It has none."
            raise FrcnnError(f"{component.name} has no variant {variant!r}. {choices}")
    return variants


class _Report:
    """A line per check, begun when the check begins, under a heading for each variant."""

    def __init__(self, name: str, heading: str):
        self._name = name
        self._heading = heading
        self._variant = ""
        self._told: set[str] = set()

    def started(self, check: Any) -> None:
        heading, self._heading = self._heading, ""
        if check.variant != self._variant:
            heading, self._variant = f"{self._name}:{check.variant}", check.variant
        if heading:
            click.echo(heading)
        click.echo(f"  {check.sentence} ... ", nl=False)

    def finished(self, outcome: Any) -> None:
        color = _COLORS[outcome.result]
        if outcome.result == "ok":
            click.secho("ok", fg=color)
        elif outcome.result == "skipped":
            click.secho(f"skipped ({outcome.reason})", fg=color)
        elif outcome.reason in self._told:  # a network that cannot be drawn fails most checks
            click.secho("FAILED, as above", fg=color)
        else:
            click.secho("FAILED", fg=color)
            click.secho("\n".join(f"      {line}" for line in outcome.reason.splitlines()))
            self._told.add(outcome.reason)
