"""The hooks a plugin may implement: one per kind of component.

A hook is called once, when the plugin is loaded, and must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from frcnn_core.plugin.components import (
        Backbone,
        Exporter,
        LabelFormat,
        LRSchedule,
        Metric,
        Optimizer,
    )

PROJECT = "frcnn"
"""Name of the pluggy project and of the entry-point group."""

API_VERSION = 1
"""Of the hooks and of the classes in ``frcnn_core.plugin.components``.

It rises when plugins written for the version before would no longer work.  What a plugin can go
without, such as a new attribute with a default, does not raise it.
"""

API_GROUP = "frcnn.api"
"""Entry-point group in which a distribution says what its plugins were written for::

    [project.entry-points."frcnn.api"]
    version = "v1"

It is read before anything of the distribution is imported.  Undeclared means version 1.  The
``v`` is there because an entry point has to look like the name of a module.
"""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def frcnn_register_backbones() -> Iterable[Backbone]:
    """Backbones a spec may name in ``model_config.arch``."""


@hookspec
def frcnn_register_lr_schedules() -> Iterable[LRSchedule]:
    """Schedules a spec may name in ``training_config.learning_rate``."""


@hookspec
def frcnn_register_optimizers() -> Iterable[Optimizer]:
    """Optimizers a spec may name in ``training_config.optimizer``."""


@hookspec
def frcnn_register_metrics() -> Iterable[Metric]:
    """Metrics a spec may name in ``evaluation_config.metric``."""


@hookspec
def frcnn_register_exporters() -> Iterable[Exporter]:
    """Formats ``frcnn export`` may write."""


@hookspec
def frcnn_register_label_formats() -> Iterable[LabelFormat]:
    """Formats of label files that a spec may name."""
