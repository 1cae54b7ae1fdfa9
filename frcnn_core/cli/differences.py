"""What ``frcnn export verify`` shows of the differences it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from frcnn_core.export import Unpaired, VerificationReport
    from frcnn_core.plugin import LayerCost

WIDE = 120
"""Columns of a table where output is no terminal."""


def show(report: VerificationReport) -> None:
    """Tables of detections and of each metric, and where the largest differences are."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    console.print(_detections(report))
    for name in report.model:
        console.print(_accuracy(report, name))
    for line in _largest(report):
        click.echo(line)
    overall = report.differences.overall
    _show_unpaired("Lost", report.differences.lost, overall.num_lost)
    _show_unpaired("Gained", report.differences.gained, overall.num_gained)
    click.echo(f"{report.num_images} images in {report.seconds:.1f} s")


def _detections(report: VerificationReport) -> Table:
    """How the detections of each class differ."""
    from rich.table import Table

    table = Table()
    table.add_column("class", overflow="fold")
    for heading in ("pairs", "lost", "gained", "borderline", "box px", "mean", "score", "mean"):
        table.add_column(heading, justify="right")
    rows = [(one.class_name, one) for one in report.differences.classes]
    for name, one in [*rows, ("all", report.differences.overall)]:
        numbers = (one.box.largest, one.box.mean, one.score.largest, one.score.mean)
        table.add_row(
            name,
            str(one.num_pairs),
            str(one.num_lost),
            str(one.num_gained),
            str(one.num_borderline),
            *(f"{number:.2g}" if one.num_pairs else "-" for number in numbers),
            end_section=len(rows) > 1 and one is rows[-1][1],
        )
    return table


def _accuracy(report: VerificationReport, name: str) -> Table:
    """What a metric gives to both, for each class and for all."""
    from rich.table import Table

    model, exported = report.model[name], report.exported[name]
    table = Table()
    table.add_column(name, overflow="fold")
    for heading in ("model", "exported", "change"):
        table.add_column(heading, justify="right")
    for class_name, before in model.by_class.items():
        table.add_row(class_name, *_change(before, exported.by_class.get(class_name)))
    table.add_section()
    table.add_row("all", *_change(model.primary, exported.primary))
    return table


def _change(before: float | None, after: float | None) -> list[str]:
    from math import isfinite

    if before is None or after is None or not isfinite(before - after):
        return ["-", "-", "-"]
    return [f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"]


def _show_unpaired(title: str, found: Sequence[Unpaired], count: int) -> None:
    if not found:
        return
    best = f", the best {len(found)} of {count}" if count > len(found) else ""
    click.echo(f"{title}{best}: score, class, box (y1 x1 y2 x2), image")
    for one in found:
        box = " ".join(f"{value:.1f}" for value in one.box)
        click.echo(f"  {one.score:.4f}  {one.class_name}  ({box})  {one.image}")


def _largest(report: VerificationReport) -> Iterator[str]:
    """Where the largest differences are."""
    overall = report.differences.overall
    if not overall.num_pairs:
        return
    for what, found, unit in (("box", overall.box, " px"), ("score", overall.score, "")):
        where = f"of a {found.class_name} scored {found.at_score:.4f} in {found.image}"
        yield f"Largest difference of a {what}: {found.largest:.4g}{unit}, {where}"
    if overall.num_beyond:
        yield f"{overall.num_beyond} of {overall.num_pairs} pairs differ by more than the limits."


def show_costs(costs: Sequence[LayerCost], keep_float: Sequence[str]) -> None:
    """The layers ``keep_float``, which cost most, and what to type to keep them so."""
    width = max(len(name) for name in keep_float)
    click.echo(f"\nWhat int8 costs most, of {len(costs)} layers (error of the outputs, relative):")
    for cost in costs[: len(keep_float)]:
        click.echo(f"  {cost.layer:<{width}}  {cost.error:.4f}")
    click.echo(
        f"To keep these in floating point, export again with\n  --keep_float {','.join(keep_float)}"
    )
