"""What the commands that look at a data set share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from frcnn_core.assemble.survey import SurveyedData

dataset_spec = click.option(
    "-d",
    "--dataset_export_spec",
    "--dataset_spec",
    "dataset_spec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SPEC",
    help="Dataset spec file: images and labels as they are.",
)
"""``-d SPEC``, given to the command as ``dataset_spec: Path | None``."""

json_file = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write everything as JSON to this file; - is stdout, where nothing else goes then.",
)
"""``--json FILE``, given to the command as ``json_file: Path | None``."""

overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
"""``--overwrite``, given to the command as ``overwrite: bool``."""


def require_new(files: list[Path | None], *, overwrite: bool) -> None:
    """See before the work begins that nothing is replaced unasked.

    Args:
        files: None and ``-`` stand for no file.

    Raises:
        FrcnnError: one of the files exists.
    """
    from frcnn_core.cli.running import refuse_existing

    for path in files:
        if path is not None and not is_stdout(path) and not overwrite:
            refuse_existing(path)


def data_of(dataset_spec: Path | None, experiment_spec: Path | None) -> SurveyedData:
    """The data that one of the two specs names; warnings about the spec are shown.

    Raises:
        click.UsageError: both are given, or none.
        FrcnnError: the spec cannot be used.
    """
    if (dataset_spec is None) == (experiment_spec is None):
        raise click.UsageError("Give either a dataset spec with -d or an experiment spec with -e.")
    from frcnn_core.cli import terminal

    terminal.load_tensorflow()
    from frcnn_core.assemble import survey
    from frcnn_core.plugin import installed
    from frcnn_core.spec.load import load, load_dataset_spec

    if dataset_spec is not None:
        data = survey.of_dataset_spec(load_dataset_spec(dataset_spec), installed())
    elif experiment_spec is not None:
        data = survey.of_experiment(load(experiment_spec), installed())
    for problem in data.warnings:
        click.secho(f"Warning: {problem}", fg="yellow", err=True)
    return data


def is_stdout(json_file: Path | None) -> bool:
    """Whether JSON goes to stdout, so that nothing else may."""
    return json_file is not None and str(json_file) == "-"


def progress_shown(
    title: str, json_file: Path | None
) -> AbstractContextManager[Callable[[int, int], None]]:
    """``progress_of``, but nothing where stdout is for JSON."""
    from contextlib import nullcontext

    from frcnn_core.cli.progress import progress_of

    return nullcontext(lambda done, total: None) if is_stdout(json_file) else progress_of(title)


def write_json(content: dict[str, Any], json_file: Path) -> None:
    """Write JSON to a file or to stdout."""
    import json

    from frcnn_core.files import write_whole

    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if is_stdout(json_file):
        click.echo(text, nl=False)
    else:
        write_whole(json_file, text)


def counted(number: int, word: str) -> str:
    """``no images``, ``1 image``, ``2 images``."""
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
