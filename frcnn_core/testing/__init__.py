"""Contracts: the tests every component must pass.  Subclass one, name the component, run pytest.

class TestTinyNet(BackboneContract):
    backbone = TinyNet()
"""

from frcnn_core.testing.backbone import BackboneContract
from frcnn_core.testing.exporter import ExporterContract
from frcnn_core.testing.lr_schedule import LRScheduleContract
from frcnn_core.testing.metric import MetricContract
from frcnn_core.testing.optimizer import OptimizerContract

__all__ = [
    "BackboneContract",
    "ExporterContract",
    "LRScheduleContract",
    "MetricContract",
    "OptimizerContract",
]
