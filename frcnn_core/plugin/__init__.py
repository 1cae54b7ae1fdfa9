"""The host of plugins: kinds of component, hooks, discovery, registries, options, contracts.

All of the room is light: none of it imports TensorFlow or protobuf.
"""

from frcnn_core.plugin import arch, import_plan, label_formats, options
from frcnn_core.plugin.arch import resolve
from frcnn_core.plugin.components import (
    Accumulator,
    Backbone,
    Component,
    Exporter,
    LabelFormat,
    LayerCost,
    LRSchedule,
    Metric,
    MetricResult,
    NoOptions,
    Optimizer,
    Runtime,
)
from frcnn_core.plugin.discovery import Plugins, installed, name_and_version
from frcnn_core.plugin.hookspecs import API_VERSION, PROJECT, hookimpl
from frcnn_core.plugin.import_plan import Images, ImportPlan, Unit
from frcnn_core.plugin.int8 import CalibrationImages, Int8Options
from frcnn_core.plugin.options import option
from frcnn_core.plugin.registry import Registered, Registry

__all__ = [
    "API_VERSION",
    "PROJECT",
    "Accumulator",
    "Backbone",
    "CalibrationImages",
    "Component",
    "Exporter",
    "Images",
    "ImportPlan",
    "Int8Options",
    "LRSchedule",
    "LabelFormat",
    "LayerCost",
    "Metric",
    "MetricResult",
    "NoOptions",
    "Optimizer",
    "Plugins",
    "Registered",
    "Registry",
    "Runtime",
    "Unit",
    "arch",
    "hookimpl",
    "import_plan",
    "installed",
    "label_formats",
    "name_and_version",
    "option",
    "options",
    "resolve",
]
