"""Sources whose labels are read as they are: converted on the way, into a folder that goes away.

The records are those that ``frcnn dataset_convert`` would write by default, so training on a
folder and training on records of it are the same training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from frcnn_core.assemble.conversion import open_labels, partitioning
from frcnn_core.data import ConversionPlan, ConversionReport, LabelledFolder, convert
from frcnn_core.errors import DataError
from frcnn_core.plugin import Plugins
from frcnn_core.spec import paths
from frcnn_core.spec.load import loads_dataset_spec

logger = logging.getLogger(__name__)

ShowProgress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Given a title, it gives ``report(done, total)``, in images, to call while the block runs."""


_folders: list[TemporaryDirectory] = []
"""Where the records are.  They are removed when Python ends, however it ends but by a kill."""


def convert_directly(
    config: Any, plugins: Plugins, *, where: str, max_bad: int, progress: ShowProgress | None
) -> ConversionReport:
    """The records of a ``DataSource`` with labels, in a temporary folder.

    Frame ids start at ``image_directory_path``.

    Args:
        config: checked.
        where: its path in the spec, for messages.
        max_bad: images that may be bad and are left out, with a warning.
        progress: shows how far the reading of images and labels is.

    Raises:
        DataError: images or labels cannot be used; a line for each problem.
    """
    folder = TemporaryDirectory(prefix="frcnn-")
    try:
        plan = direct_plan(config, plugins, Path(folder.name) / "records", where=where)
        with progress(f"Reading {plan.folders[0].folder}") if progress else _silence() as report:
            converted = convert(plan, skip_bad=True, progress=report)
        if converted.num_left_out > max_bad:
            raise DataError(_too_many(converted, max_bad))
    except BaseException:
        folder.cleanup()
        raise
    _folders.append(folder)
    _warn(converted, plan.folders[0].folder)
    return converted


def direct_plan(config: Any, plugins: Plugins, output: Path, *, where: str) -> ConversionPlan:
    """What ``frcnn dataset_convert`` would do with a ``DataSource`` with labels.

    Args:
        config: checked.
        output: beginning of the record files' names.
        where: its path in the spec, for messages.

    Raises:
        DataError: the labels cannot be opened.
    """
    labels = open_labels(
        paths.locate(config.labels.path),
        config.labels.format,
        config.labels.options,
        plugins,
        where=f"{where}.labels",
    )
    folder = LabelledFolder(
        root=paths.locate(config.image_directory_path),
        images="",
        labels=labels,
        extension=config.image_extension or None,
        image_list=paths.locate(config.image_list) if config.image_list else None,
    )
    defaults = loads_dataset_spec("source {}").message.source
    return ConversionPlan((folder,), output, mode="shuffled", **partitioning(defaults))


def _silence() -> AbstractContextManager[Callable[[int, int], None]]:
    """The progress that nobody asked to see."""
    return nullcontext(lambda done, total: None)


def _warn(report: ConversionReport, images: Path) -> None:
    """Tell what was left out."""
    for problem in report.left_out:
        logger.warning("Left out: %s", problem)
    if report.without_area:
        logger.warning(
            "%s: %d box(es) without width or height are left out, the first is %s.",
            *(images, len(report.without_area), next(iter(report.without_area))),
        )


def _too_many(report: ConversionReport, max_bad: int) -> str:
    return (
        "\n".join(report.left_out)
        + f"\n{len(report.left_out)} problem(s) with {report.num_left_out} image(s), and --max-bad"
        f" allows {max_bad}. Mend them, or raise --max-bad to go on without them."
    )
