"""Rules of fields that name labels and their format, in specs of both kinds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from frcnn_core.errors import FrcnnError
from frcnn_core.plugin import LabelFormat, Plugins
from frcnn_core.plugin.label_formats import recognise
from frcnn_core.spec.rules.findings import Findings

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png")


def check_format(
    findings: Findings,
    path: str,
    name: str,
    options: Mapping[str, str],
    plugins: Plugins,
    *,
    labels: Path | None,
) -> LabelFormat | None:
    """The format that is named or recognised, if there is one that takes these options.

    Args:
        path: of the block that has the fields ``format`` and ``options``.
        name: ``format``.
        labels: where they are, to recognise a format that is not named; None looks at no file.
    """
    if name:
        component = findings.component(f"{path}.format", name, plugins.label_formats)
    elif labels is None:
        return None
    else:
        component = _recognised(findings, path, labels, plugins)
    if component is not None:
        findings.options(f"{path}.options", component, options)
    return component


def check_extension(findings: Findings, field: str, extension: str, *, dot: bool | None) -> None:
    """An ending of image files, which has a dot (if ``dot``), has none, or either (None)."""
    bare = extension.lower().removeprefix(".")
    written_right = dot is None or extension.startswith(".") == dot
    if bare in IMAGE_EXTENSIONS and written_right:
        return
    choices = ["." * bool(dot) + known for known in IMAGE_EXTENSIONS]
    if bare in IMAGE_EXTENSIONS:
        choices = ["." * bool(dot) + bare]
    words = " or ".join(filter(None, [", ".join(map(repr, choices[:-1])), repr(choices[-1])]))
    findings.error(field, f"{extension!r} is unknown. Type {words}.")


def _recognised(
    findings: Findings, path: str, labels: Path, plugins: Plugins
) -> LabelFormat | None:
    try:
        return recognise(labels, plugins.label_formats)
    except FrcnnError as error:
        findings.error(path, f"format is missing. {error}")
        return None
