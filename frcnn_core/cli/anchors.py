"""``frcnn anchors``: whether the anchors of a spec fit the objects of its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options, surveying

if TYPE_CHECKING:
    from rich.table import Table

    from frcnn_core.survey.anchor_report import AnchorReport, Fitted


@click.group()
def anchors() -> None:
    """Compare anchors with the objects they are to find."""


@anchors.command()
@options.experiment_spec
@surveying.json_file
@surveying.overwrite
@options.terminal
def suggest(experiment_spec: Path, json_file: Path | None, overwrite: bool) -> None:
    """Tell how well the anchors of SPEC cover its training objects, and which would do better.

    SPEC stays as it is: what to put into it is printed.
    """
    surveying.require_new([json_file], overwrite=overwrite)
    data = surveying.data_of(None, experiment_spec)
    data.require_sources()
    from frcnn_core.assemble.survey import anchor_settings
    from frcnn_core.plugin import installed
    from frcnn_core.spec.load import load
    from frcnn_core.survey.anchor_report import report_on
    from frcnn_core.survey.objects import gather

    settings = anchor_settings(load(experiment_spec), installed())
    with surveying.progress_shown("Reading", json_file) as progress:
        table = gather(data.splits[:1], data.view, progress=progress)
    assert data.view is not None  # an experiment spec says how the network sees it
    report = report_on(table, data.view, settings.anchors, settings.threshold, settings.zoom)
    if json_file:
        surveying.write_json(report.as_dict(), json_file)
    if not surveying.is_stdout(json_file):
        _print(report)


def _print(report: AnchorReport) -> None:
    from rich.console import Console

    click.echo(
        f"{report.given.covers.all.num_boxes} training objects, as the network sees them."
        f" An anchor is positive from an IoU of {report.threshold:g} (rpn_max_overlap)."
    )
    console = Console()
    console.print(_table(report, report.given, "Anchors of the spec"))
    for height, width in report.never_inside:
        click.secho(
            f"The anchor of {height:.4g} x {width:.4g} pixels (height x width) is inside of no"
            " image, so it is never trained on.",
            fg="yellow",
        )
    if report.suggested is None:
        click.echo("No scales and ratios of the same number were found that fit better.")
    else:
        console.print(_table(report, report.suggested, "Anchors that fit better"))
    click.echo(
        "covered: some anchor is positive. IoU: with the best anchor, on average. rescued: no"
        " anchor is positive, so the best one is taken. never: no anchor touches it."
        " smaller: than the smallest anchor."
    )
    if report.given.zoomed:
        low, high = report.zoom
        click.echo(
            f"zoomed: covered in the sizes that zoom_min {low:g} and zoom_max {high:g} make of it,"
            f" {1 / high:.0%} to {1 / low:.0%}; these are what the anchors have to fit."
        )
    if report.suggested is not None:
        click.echo("To use the anchors that fit better, write this into model_config:\n")
        click.echo(report.suggested.text())


def _table(report: AnchorReport, fitted: Fitted, title: str) -> Table:
    from rich.table import Table

    scales, ratios = (
        ", ".join(f"{value:g}" for value in values)
        for values in (fitted.anchors.scales, fitted.anchors.ratios)
    )
    shown = Table(title=f"{title}: scales {scales}; ratios {ratios}")
    shown.add_column("class")
    zoomed = fitted.zoomed
    for heading in ("objects", "covered", *(["zoomed"] if zoomed else [])):
        shown.add_column(heading, justify="right")
    for heading in ("IoU", "rescued", "never", "smaller"):
        shown.add_column(heading, justify="right")
    names = [*report.class_names, "all"]
    rows = [*fitted.covers.classes, fitted.covers.all]
    zoomed_rows = [*zoomed.classes, zoomed.all] if zoomed else [None] * len(rows)
    for name, cover, in_sizes in zip(names, rows, zoomed_rows, strict=True):
        if cover is fitted.covers.all:
            shown.add_section()
        shares = [cover.covered, *([in_sizes.covered] if in_sizes else [])]
        cells = [
            *(f"{share:.1%}" for share in shares),
            f"{cover.mean_iou:.3f}",
            *(f"{share:.1%}" for share in (cover.rescued, cover.unreachable, cover.smaller)),
        ]
        if not cover.num_boxes:
            cells = ["-"] * len(cells)
        shown.add_row(name, str(cover.num_boxes), *cells)
    return shown
