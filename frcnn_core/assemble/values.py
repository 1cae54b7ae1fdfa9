"""Protobuf values as plain ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


def fields(message: Any) -> dict[str, Any]:
    """The scalar and repeated fields that are set."""
    return {
        field.name: [plain(v) for v in value] if field.is_repeated else plain(value)
        for field, value in message.ListFields()
    }


def plain(value: Any) -> Any:
    """A value as the spec's author wrote it: 0.1, not the nearest 32-bit float's 0.100000001."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def choice(config: Any, oneof: str, where: str) -> tuple[str, dict[str, Any], str]:
    """Name, options and field of the component that a oneof chooses."""
    member = config.WhichOneof(oneof)
    chosen = getattr(config, member)
    if member == "plugin":
        return chosen.name, dict(chosen.options), f"{where}.plugin"
    return member, fields(chosen), f"{where}.{member}"


def chosen(config: Any, settings: type, but: Sequence[str] = ()) -> dict[str, Any]:
    """Values of a message for the fields of a dataclass, whose names are in lower case."""
    names = {field.name.lower(): field.name for field in config.DESCRIPTOR.fields}
    wanted = [field.name for field in dataclasses.fields(settings) if field.name not in but]
    return {name: plain(getattr(config, names[name])) for name in wanted}
