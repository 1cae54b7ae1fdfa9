"""From a registered component to the class of tests that it has to pass."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from frcnn_core.errors import SpecError
from frcnn_core.plugin import Component, NoOptions
from frcnn_core.plugin.options import field_types, parse, required
from frcnn_core.testing import (
    BackboneContract,
    ExporterContract,
    LabelFormatContract,
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
    "label_format": LabelFormatContract,
}
"""The contract of each kind of component, by ``Kind.key``."""


def suite(
    kind: str, component: Component, *, given: Mapping[str, Any] | None = None, **fields: Any
) -> type:
    """A class such as ``class TestResnet(BackboneContract): backbone = ResNet()``.

    Args:
        kind: a ``Kind.key``.
        given: options to test with; numbers that the component demands are filled in.
        fields: other attributes of the contract, e.g. ``only_variants``.

    Raises:
        SpecError: it demands an option that no value can be made up for, or does not take those
            that are given.
    """
    options = getattr(component, "Options", NoOptions)
    if dataclasses.is_dataclass(options):  # where it is not, a check says so
        fields["given"] = _with_examples(component.name, options, given or {})
        parse(options, fields["given"], where=component.name)
    fields[kind.removeprefix("lr_")] = component
    name = f"Test{component.name.title().replace('_', '')}{kind.title().replace('_', '')}"
    return type(name, (CONTRACTS[kind],), fields)


def _with_examples(name: str, options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    kinds = field_types(options)
    left = [option for option in required(options) if option not in given]
    examples = {option: _NAMED.get(option) or _example(kinds[option]) for option in left}
    if unknown := [option for option, example in examples.items() if example is None]:
        flags = " ".join(f"--option {option}=VALUE" for option in unknown)
        raise SpecError(f"{name} cannot be tested without some of its options: add {flags}")
    return {**examples, **given}


_NAMED = {"key": "key of the tests"}
"""Examples of options that mean the same in every component: ``key`` is that of ``-k``."""


def _example(kind: Any) -> str | None:
    """A value as a spec might give it; small, since most numbers that are demanded are rates."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return str(inner[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(filter(None, map(_example, inner)), None)
    return {float: "0.01", int: "1", bool: "false"}.get(kind)
