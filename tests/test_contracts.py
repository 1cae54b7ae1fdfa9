"""Every registered component passes the contract of its kind: it is tested by existing."""

from frcnn_core.options import required
from frcnn_core.plugins import KINDS, installed
from frcnn_core.testing import (
    BackboneContract,
    ExporterContract,
    LRScheduleContract,
    MetricContract,
    OptimizerContract,
)

CONTRACTS = {
    "backbone": BackboneContract,
    "lr_schedule": LRScheduleContract,
    "optimizer": OptimizerContract,
    "metric": MetricContract,
    "exporter": ExporterContract,
}


def _tests_of(kind: str, component) -> type:
    """A class such as ``class TestResnet(BackboneContract): backbone = ResNet()``."""
    fields = {kind.removeprefix("lr_"): component}
    if kind == "backbone":
        fields["slow_variants"] = component.variants[1:]
    elif kind != "metric" and required(component.Options):
        # Rates are the only options that first-party components demand.
        fields["given"] = dict.fromkeys(required(component.Options), "0.01")
    name = f"Test{component.name.title().replace('_', '')}{kind.title().replace('_', '')}"
    return type(name, (CONTRACTS[kind],), fields)


for _kind in KINDS:
    for _entry in installed().registries[_kind.key]:
        _tests = _tests_of(_kind.key, _entry.component)
        globals()[_tests.__name__] = _tests
