"""Contracts: the tests every component must pass.  Subclass one, name the component, run pytest.

class TestTinyNet(BackboneContract):
    backbone = TinyNet()
"""

import pytest

# Before they are imported: a failed `assert` of theirs then tells the values it compared.
_KINDS = (
    "backbone",
    "component",
    "exporter",
    "label_format",
    "lr_schedule",
    "metric",
    "optimizer",
    "parts",
)
pytest.register_assert_rewrite(*(f"{__name__}.{kind}" for kind in _KINDS))

from frcnn_core.testing.backbone import BackboneContract  # noqa: E402
from frcnn_core.testing.exporter import ExporterContract  # noqa: E402
from frcnn_core.testing.label_format import LabelFormatContract  # noqa: E402
from frcnn_core.testing.lr_schedule import LRScheduleContract  # noqa: E402
from frcnn_core.testing.metric import MetricContract  # noqa: E402
from frcnn_core.testing.optimizer import OptimizerContract  # noqa: E402

__all__ = [
    "BackboneContract",
    "ExporterContract",
    "LRScheduleContract",
    "LabelFormatContract",
    "MetricContract",
    "OptimizerContract",
]
