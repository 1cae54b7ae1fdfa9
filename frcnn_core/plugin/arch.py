"""Reads ``model_config.arch``, e.g. ``resnet:18``."""

from __future__ import annotations

from frcnn_core.errors import SpecError
from frcnn_core.plugin.components import Backbone
from frcnn_core.plugin.registry import Registry

FIELD = "model_config.arch"


def resolve(
    arch: str, backbones: Registry[Backbone], *, where: str = FIELD
) -> tuple[Backbone, str]:
    """The backbone and the variant that an arch string names.

    >>> from frcnn_core.plugin.discovery import installed
    >>> backbone, variant = resolve("resnet:18", installed().backbones)
    >>> backbone.name, variant
    ('resnet', '18')

    Args:
        where: the field or flag that names it, for error messages.

    Raises:
        SpecError: no such backbone, or it has no such variant.
    """
    if not arch:
        names = ", ".join(choice for entry in backbones for choice in choices(entry.component))
        raise SpecError(f"{where}: not set.\n  Choose from: {names}.")
    name, _, variant = arch.partition(":")
    backbone = backbones.get(name, where=where)
    if arch not in choices(backbone):
        raise SpecError(
            f"{where}: {arch!r} is not available.\n  Choose from: {', '.join(choices(backbone))}."
        )
    return backbone, variant


def choices(backbone: Backbone) -> list[str]:
    """Every arch string of a backbone, e.g. ``["resnet:10", "resnet:18"]`` or ``["tinynet"]``."""
    return [f"{backbone.name}:{variant}" for variant in backbone.variants] or [backbone.name]
