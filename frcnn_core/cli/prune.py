"""``frcnn prune``: a trained model without the filters that matter least."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_core.cli import options
from frcnn_core.errors import FrcnnError

if TYPE_CHECKING:
    from frcnn_core.assemble import Prunable, PruningReport, Size
    from frcnn_core.pruning.scores import Equalization, Normalizer


@click.command()
@click.option(
    "-m",
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trained model.",
)
@click.option(
    "-o",
    "--output_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pruned model to write.",
)
@click.option(
    "-k",
    "--key",
    metavar="KEY",
    help="Key of the model, where it is encrypted; the pruned one is encrypted with it.",
)
@click.option(
    "-n",
    "--normalizer",
    type=click.Choice(["max", "L2"]),
    default="max",
    show_default=True,
    help="What the norm of a filter is divided by: the largest of its layer, or the norm of all "
    "of them together, times their number.",
)
@click.option(
    "-eq",
    "--equalization_criterion",
    type=click.Choice(["union", "intersection", "arithmetic_mean", "geometric_mean"]),
    default="union",
    show_default=True,
    help="How layers that lose the same filters agree on a score: the largest, the smallest, or "
    "a mean.",
)
@click.option(
    "-pg",
    "--pruning_granularity",
    type=int,
    default=8,
    show_default=True,
    help="Filters go so many at a time.",
)
@click.option(
    "-pth",
    "--pruning_threshold",
    type=float,
    metavar="SCORE",
    help="Filters up to this score go.  [default: 0.1]",
)
@click.option(
    "--target-ratio",
    "--target_ratio",
    "target_ratio",
    type=float,
    metavar="RATIO",
    help="In place of -pth: find the threshold that keeps at most this share of the parameters.",
)
@click.option(
    "-nf",
    "--min_num_filters",
    type=int,
    default=16,
    show_default=True,
    help="Filters that a layer keeps at least.",
)
@click.option(
    "-el",
    "--excluded_layers",
    cls=options.Several,
    metavar="LAYER [LAYER ...]",
    help="Layers that keep all filters, as `frcnn model show` prints them; so do all layers that "
    "would have to lose the same ones.",
)
@click.option(
    "--sweep",
    is_flag=True,
    help="Only show which thresholds leave how much of the model; writes no model.",
)
@options.json_file("Write the report as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option(
    "-r",
    "--results_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for status.json, which is not written otherwise.",
)
@options.gpu_index
@options.terminal
def prune(
    model: Path,
    output_file: Path | None,
    key: str | None,
    normalizer: Normalizer,
    equalization_criterion: Equalization,
    pruning_granularity: int,
    pruning_threshold: float | None,
    target_ratio: float | None,
    min_num_filters: int,
    excluded_layers: tuple[str, ...],
    sweep: bool,
    json_file: Path | None,
    overwrite: bool,
    results_dir: Path | None,
    gpu_index: tuple[int, ...],
) -> None:
    """Make a model smaller by the filters with the smallest norms.

    Prints what each layer loses, and writes the pruned model to -o; the given one stays as it is.
    Train it again afterwards: training_config.retrain_pruned_model.  With a key, what is written
    is encrypted.
    """
    from contextlib import nullcontext

    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import installed
    from frcnn_core.training import StatusLog

    _check_flags(output_file, pruning_threshold, target_ratio, sweep)
    written = [path for path in (None if sweep else output_file, json_file) if path]
    if len(set(written)) < len(written):
        raise click.UsageError("-o and --json name the same file.")
    for path in written:
        _refuse(path, model, overwrite=overwrite)
    log = StatusLog(results_dir / "status.json") if results_dir else None
    with log.running("Prune") if log else nullcontext():
        load_tensorflow()
        from frcnn_core import assemble
        from frcnn_core.cli.devices import use_one_gpu
        from frcnn_core.pruning import DEFAULT_THRESHOLD, Criterion

        use_one_gpu(gpu_index)
        criterion = Criterion(
            normalizer=normalizer,
            equalization=equalization_criterion,
            granularity=pruning_granularity,
            min_num_filters=min_num_filters,
        )
        threshold = DEFAULT_THRESHOLD if pruning_threshold is None else pruning_threshold
        criterion.check_threshold(threshold)
        prunable = assemble.open_prunable(
            model, key or "", installed(), criterion, excluded_layers=excluded_layers
        )
        if sweep:
            _sweep(prunable, json_file)
            return
        if target_ratio is not None:
            threshold = prunable.plan.threshold_for(target_ratio)
        assert output_file is not None  # as _check_flags has seen to
        _prune(prunable, threshold, model, output_file, key or "", json_file)


def _check_flags(
    output_file: Path | None, threshold: float | None, target_ratio: float | None, sweep: bool
) -> None:
    """Refuse flags that are missing or contradict each other."""
    if not sweep and output_file is None:
        raise click.UsageError("Name the file to write, -o FILE, or --sweep to write none.")
    if threshold is not None and target_ratio is not None:
        raise click.UsageError("Give -pth or --target-ratio, not both: the ratio sets a threshold.")
    if sweep and (threshold is not None or target_ratio is not None):
        raise click.UsageError(
            "--sweep shows thresholds of all kinds: leave out -pth, --target-ratio."
        )


def _refuse(path: Path, model: Path, *, overwrite: bool) -> None:
    """Hold that a file may be written.

    Raises:
        FrcnnError: it is the model, or a folder, or exists and may not be replaced.
    """
    from frcnn_core.cli.running import refuse_existing

    if path.exists() and model.exists() and path.samefile(model):
        raise FrcnnError(f"{path} is the model to prune, which is never replaced. Give another -o.")
    if path.is_dir():
        raise FrcnnError(f"{path} is a folder. Give the name of a file.")
    if not overwrite:
        refuse_existing(path)


def _prune(
    prunable: Prunable,
    threshold: float,
    model: Path,
    output: Path,
    key: str,
    json_file: Path | None,
) -> None:
    from frcnn_core.model_files import archive

    pruned = prunable.pruned(threshold)
    archive.write(output, pruned.to_archive(), key)
    report = prunable.report(threshold)
    sizes = [path.stat().st_size for path in (model, output)]
    _show(report, sizes, prunable)
    if json_file:
        files = dict(zip(("model_bytes", "output_bytes"), sizes, strict=True))
        origin = {"model": str(model), "output_file": str(output)}
        _write_json(origin | report.as_dict() | files, json_file)
    click.echo(
        f"Wrote {output}. To train it again, write into training_config of the spec:\n"
        f'  retrain_pruned_model: "{output}"'
    )


def _show(report: PruningReport, sizes: list[int], prunable: Prunable) -> None:
    from rich.console import Console
    from rich.table import Table

    criterion = report.criterion
    table = Table(
        title=f"threshold {report.threshold:g}; normalizer {criterion.normalizer}; "
        f"{criterion.equalization}; granularity {criterion.granularity}; "
        f"at least {criterion.min_num_filters}"
    )
    table.add_column("layer", overflow="fold")
    for heading in ("filters", "kept", "share"):
        table.add_column(heading, justify="right")
    table.add_column("")
    whole: dict[str, list[str]] = {}  # by reason
    for layer in report.layers:
        if layer.whole_because:
            whole.setdefault(layer.whole_because, []).append(layer.layer)
        table.add_row(
            layer.layer,
            str(layer.before),
            str(layer.after),
            f"{layer.after / layer.before:.0%}",
            "whole" if layer.whole_because else "frozen" if layer.frozen else "",
        )
    Console().print(table)
    for reason, layers in whole.items():
        click.echo(f"Whole, because {reason}: {', '.join(layers)}")
    before, after = report.before, report.after
    click.echo(
        f"Parameters: {before.parameters:,} -> {after.parameters:,} ({report.ratio:.1%} are left)"
    )
    click.echo(
        f"GFLOPs:     {before.operations / 1e9:.4g} -> {after.operations / 1e9:.4g} "
        f"({_counted(prunable)})"
    )
    click.echo(
        f"File:       {sizes[0] / 1e6:.4g} MB -> {sizes[1] / 1e6:.4g} MB "
        "(the new one without an optimizer's state)"
    )
    if report.ratio == 1:
        click.secho(
            "Nothing was pruned: no filter is below the threshold, once granularity and minimum "
            "are taken into account. --sweep shows what other thresholds do.",
            fg="yellow",
            err=True,
        )


def _counted(prunable: Prunable) -> str:
    return (
        f"one image of {prunable.height} x {prunable.width}, height x width, with "
        f"{prunable.rois_per_image} RoIs"
    )


def _sweep(prunable: Prunable, json_file: Path | None) -> None:
    """Show how large the model would be, from whole to as small as it gets."""
    from rich.console import Console
    from rich.table import Table

    whole = prunable.size()
    rows = [(threshold, prunable.size(threshold)) for threshold in prunable.plan.sweep()]
    table = Table()
    for heading in ("threshold", "parameters", "share", "GFLOPs", "share"):
        table.add_column(heading, justify="right")
    for threshold, size in rows:
        table.add_row(
            f"{threshold:g}",
            f"{size.parameters:,}",
            f"{size.parameters / whole.parameters:.1%}",
            f"{size.operations / 1e9:.4g}",
            f"{size.operations / whole.operations:.1%}",
        )
    Console().print(table)
    click.echo(f"GFLOPs are those of {_counted(prunable)}. No higher threshold leaves less.")
    if json_file:
        _write_json({"sweep": [_row(*row, whole) for row in rows]}, json_file)


def _row(threshold: float, size: Size, whole: Size) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "parameters": size.parameters,
        "ratio": size.parameters / whole.parameters,
        "operations": size.operations,
    }


def _write_json(content: dict[str, Any], path: Path) -> None:
    import json

    from frcnn_core.files import write_whole

    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    click.echo(f"Wrote {path}.")
