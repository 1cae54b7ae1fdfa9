"""Collects problems, and knows the rules that many fields share."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from google.protobuf.message import Message

from frcnn_core.errors import FrcnnError
from frcnn_core.plugin import (
    Backbone,
    Component,
    LabelFormat,
    LRSchedule,
    Optimizer,
    Registry,
    options,
)
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.spec.problems import Problem

C = TypeVar("C", bound=Component)

WithOptions = Backbone | LabelFormat | LRSchedule | Optimizer
"""Components whose options a spec may set."""


class Findings:
    """The problems found in a spec so far.

    Fields are named by path, e.g. ``training_config.num_epochs``; the spec knows where they are.
    """

    def __init__(self, spec: Spec):
        self.spec = spec
        self.problems: list[Problem] = []

    def error(self, field: str, message: str) -> None:
        self.problems.append(Problem("error", self.spec.where(field), field, message))

    def warning(self, field: str, message: str) -> None:
        self.problems.append(Problem("warning", self.spec.where(field), field, message))

    def ranges(self, path: str, block: Message, allowed: Mapping[str, str]) -> None:
        """Each set field of ``block`` lies in its interval.

        Args:
            path: of the block.
            allowed: field name to interval, e.g. ``"[0, 1)"`` or ``"(0, inf)"``; for a repeated
                field or a map it holds for each value.
        """
        for name, interval in allowed.items():
            for field, value in _values(f"{path}.{name}", block, name):
                self.range(field, value, interval)

    def range(self, field: str, value: float, interval: str) -> None:
        """``value`` lies in ``interval``."""
        if not _contains(interval, value):
            self.error(field, f"{value:g} is not allowed. Type a number {_in_words(interval)}.")

    def keys(self, path: str, entries: Mapping[str, Any], needed: Collection[str]) -> None:
        """A map has exactly the needed keys."""
        for key in sorted(entries):
            if key not in needed:
                close = get_close_matches(key.lower(), needed, n=1, cutoff=0.3)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                self.error(
                    f"{path}[{key}]",
                    f"unknown key {key!r}.{hint} The keys are {', '.join(needed)}.",
                )
        missing = [key for key in needed if key not in entries]
        if missing and len(missing) < len(needed):
            self.error(path, f"no value for {', '.join(missing)}.")

    def without_effect(self, path: str, reasons: Mapping[str, str]) -> None:
        """Warn of each field of a block that the author wrote in vain."""
        for name, reason in reasons.items():
            field = f"{path}.{name}".removeprefix(".")
            if self.spec.wrote(field):
                self.warning(field, f"has no effect: {reason}.")

    def file(self, field: str, path: str) -> None:
        """``path`` is a file, now."""
        if not paths.locate(path).is_file():
            self.error(field, f"there is no such file: {paths.searched(path)}.")

    def file_or_folder(self, field: str, path: str) -> None:
        """``path`` is there, now."""
        if not paths.locate(path).exists():
            self.error(field, f"there is no such file or folder: {paths.searched(path)}.")

    def folder(self, field: str, path: str) -> None:
        """``path`` is a folder, now."""
        if not paths.locate(path).is_dir():
            self.error(field, f"there is no such folder: {paths.searched(path)}.")

    def component(self, field: str, name: str, registry: Registry[C]) -> C | None:
        """The component that ``field`` names; None, and an error, if there is none."""
        try:
            return registry.get(name)
        except FrcnnError as error:
            self.error(field, str(error))
            return None

    def options(self, path: str, component: WithOptions, given: Mapping[str, str]) -> None:
        """The map at ``path`` fits the component's ``Options``."""
        try:
            options.parse(component.Options, given, where=path)
        except FrcnnError as error:
            for line in str(error).splitlines():
                name, _, message = line.removeprefix(path).partition(": ")
                key = name.removeprefix(".")
                self.error(f"{path}[{key}]" if key else path, message)


def _values(field: str, block: Message, name: str) -> list[tuple[str, float]]:
    """The values of a field with their paths; none if it is not set."""
    value = getattr(block, name)
    if not block.DESCRIPTOR.fields_by_name[name].is_repeated:
        return [(field, value)] if block.HasField(name) else []
    items = value.items() if hasattr(value, "items") else enumerate(value)
    return [(f"{field}[{key}]", one) for key, one in items]


def _bounds(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _contains(interval: str, value: float) -> bool:
    low, high = _bounds(interval)
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _in_words(interval: str) -> str:
    low, high = _bounds(interval)
    words = []
    if low > -math.inf:
        words.append(f"of at least {low:g}" if interval[0] == "[" else f"above {low:g}")
    if high < math.inf:
        words.append(f"at most {high:g}" if interval[-1] == "]" else f"below {high:g}")
    return " and ".join(words)
