"""Detectors as their exporters write and run them; imports nothing heavy by itself."""

from __future__ import annotations

from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from frcnn_core.errors import FrcnnError
from frcnn_core.plugin import CalibrationImages, Int8Options, Runtime


class Unavailable(Exception):
    """A format that cannot be measured here, with the reason."""


def exported(
    format: str,
    model: Any,
    folder: Path,
    *,
    settings: Any,
    images: CalibrationImages | None = None,
    **given: Any,
) -> Runtime:
    """A model, exported and loaded again.

    Args:
        format: name of an exporter.
        model: a ``Model``.
        folder: new, for what is written.
        settings: ``DetectionSettings``.
        images: what int8 is calibrated on, where it is.
        given: the exporter's options, as Python values.

    Raises:
        Unavailable: there is no such exporter, it lacks a library or has no such option, or it
            refuses the model.
    """
    from frcnn_core.plugin import installed

    try:
        entry = installed().exporters.entry(format)
        if entry.missing:
            raise Unavailable(f"{format} needs {', '.join(entry.missing)}.")
        exporter = entry.component
        known = {field.name for field in fields(exporter.Options)}
        # What every exporter writes unless told otherwise.
        given = {name: value for name, value in given.items() if (name, value) != _FLOAT}
        if foreign := given.keys() - known:
            raise Unavailable(f"{format} has no {', '.join(sorted(foreign))}.")
        options = exporter.Options(**given)
        measures = isinstance(options, Int8Options) and options.calibrates(model)
        calibrating = {"images": images} if measures else {}
        folder.mkdir()  # an export may write more than one file
        output = folder / f"model{exporter.suffix}"
        exporter.export(model, output, settings=settings, options=options, **calibrating)
        return exporter.load(output)
    except FrcnnError as error:
        raise Unavailable(f"{format}: {error}") from error


_FLOAT = ("data_type", "fp32")


def first_images(batches: Any, number: int) -> CalibrationImages:
    """The images of the first ``number`` batches of a pipeline."""
    return CalibrationImages(
        batches=lambda: (batch.images.numpy() for batch in islice(batches, number)),
        num_batches=number,
        source="the benchmark's pictures",
    )


def file_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
