"""A tree of fields into a protobuf message, all mistakes at once.

Reading follows ``google.protobuf.text_format.Merge``, which the original used: of a scalar written
twice the last one counts, repeated fields add up, later members of a oneof replace earlier ones.
Unlike Merge, reading goes on after a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig
from frcnn_core.spec.experiment_pb2 import Experiment
from frcnn_core.spec.problems import Problem
from frcnn_core.spec.syntax import Block, Field, Position, Scalar


class Reader:
    """Puts a tree of fields into a message, collecting positions and problems.

    Args:
        name: of the file, for messages.
        root: kind of spec, to tell where a misplaced field belongs.
    """

    def __init__(self, name: str, root: type[Message]):
        self._name = name
        self._root = root
        self.positions: dict[str, Position] = {}
        self.problems: list[Problem] = []

    def read(self, fields: Sequence[Field], message: Message, prefix: str) -> None:
        """Put ``fields`` into ``message``; ``prefix`` is its path and a dot, or nothing."""
        for field in fields:
            path = f"{prefix}{field.name}"
            descriptor = cast(
                FieldDescriptor | None, message.DESCRIPTOR.fields_by_name.get(field.name)
            )
            if descriptor is None:
                hint = _hint(field.name, message, self._root)
                self._problem("error", field.position, path, f"unknown field.{hint}")
            elif field.is_list and not descriptor.is_repeated:
                self._problem("error", field.position, path, "takes one value, not a list.")
            else:
                self._note_repetition(field, descriptor, message, path)
                self._read_values(field, descriptor, message, path)

    def _read_values(
        self, field: Field, descriptor: FieldDescriptor, message: Message, path: str
    ) -> None:
        self.positions.setdefault(path, field.position)
        for value in field.values:
            position = value.position if field.is_list else field.position
            if isinstance(value, Block) != (descriptor.message_type is not None):
                expected = _expected(descriptor)
                self._problem("error", value.position, path, f"expected {expected}.")
            elif isinstance(value, Scalar):
                entry = path
                if descriptor.is_repeated:
                    entry = f"{path}[{len(getattr(message, field.name))}]"
                self.positions[entry] = position
                self._read_scalar(value, descriptor, message, path)
            elif is_map(descriptor):
                self._read_entry(value, position, descriptor, message, path)
            elif descriptor.is_repeated:
                entries = getattr(message, field.name)
                entry = f"{path}[{len(entries)}]"
                self.positions[entry] = position
                self.read(value.fields, entries.add(), f"{entry}.")
            else:
                block = getattr(message, field.name)
                block.SetInParent()
                self.read(value.fields, block, f"{path}.")

    def _read_scalar(
        self, value: Scalar, descriptor: FieldDescriptor, message: Message, path: str
    ) -> None:
        try:
            text_format.Merge(f"{descriptor.name}: {value.text}", message)
            understood = _exists(descriptor, getattr(message, descriptor.name))
        except text_format.ParseError:
            understood = False
        if not understood:
            expected = _expected(descriptor)
            self._problem("error", value.position, path, f"expected {expected}, not {value.text}.")

    def _read_entry(
        self,
        block: Block,
        position: Position,
        descriptor: FieldDescriptor,
        message: Message,
        path: str,
    ) -> None:
        entries = getattr(message, descriptor.name)
        entry = entries.GetEntryClass()()
        before = len(self.problems)
        self.read(block.fields, entry, f"{path}.")
        written = {field.name for field in block.fields}
        for name in ("key", "value"):
            self.positions.pop(f"{path}.{name}", None)
            if name not in written:
                self._problem("error", position, path, f"this entry has no {name!r}.")
        if len(self.problems) == before:
            self.positions[f"{path}[{entry.key}]"] = position
            entries[entry.key] = entry.value

    def _note_repetition(
        self, field: Field, descriptor: FieldDescriptor, message: Message, path: str
    ) -> None:
        choice = descriptor.containing_oneof
        if choice is not None and message.WhichOneof(choice.name) not in (None, field.name):
            earlier = message.WhichOneof(choice.name)
            replaced = path.removesuffix(field.name) + earlier
            self._problem("warning", field.position, path, f"replaces {earlier}, written before.")
            self.positions = {
                known: position
                for known, position in self.positions.items()
                if known != replaced and not known.startswith(f"{replaced}.")
            }
        elif descriptor.message_type is None and not descriptor.is_repeated:
            if path in self.positions:
                line = self.positions[path].line
                text = f"replaces the value of line {line}."
                self._problem("warning", field.position, path, text)

    def _problem(
        self, severity: Literal["error", "warning"], position: Position, field: str, message: str
    ) -> None:
        where = f"{self._name}:{position.line}:{position.column}"
        self.problems.append(Problem(severity, where, field, message))


def is_map(descriptor: FieldDescriptor) -> bool:
    return descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry


def _exists(descriptor: FieldDescriptor, value: Any) -> bool:
    """Whether a value is more than protobuf's word for nothing: finite, or a known enum number."""
    if descriptor.is_repeated:
        value = value[-1]
    if descriptor.enum_type is not None:
        return value in descriptor.enum_type.values_by_number
    return not isinstance(value, float) or math.isfinite(value)


def _expected(descriptor: FieldDescriptor) -> str:
    """What a value of the field looks like."""
    if descriptor.message_type is not None:
        return f"a block, {descriptor.name} {{ ... }}"
    if descriptor.enum_type is not None:
        names = [value.name for value in descriptor.enum_type.values]
        return f"{', '.join(names[:-1])} or {names[-1]}"
    return {
        FieldDescriptor.CPPTYPE_UINT32: "a whole number, 0 or more",
        FieldDescriptor.CPPTYPE_FLOAT: "a number",
        FieldDescriptor.CPPTYPE_BOOL: "True or False",
        FieldDescriptor.CPPTYPE_STRING: "a text in quotes",
    }[descriptor.cpp_type]


def _hint(name: str, message: Message, root: type[Message]) -> str:
    """What the author of an unknown field may have meant."""
    if homes := _homes(name, root):
        return f" It belongs in {' or '.join(homes)}."
    for other, kind in (
        (Experiment, "an experiment spec"),
        (DatasetExportConfig, "a dataset spec"),
    ):
        if name in other.DESCRIPTOR.fields_by_name:
            return f" It is a field of {kind}."
    names = list(message.DESCRIPTOR.fields_by_name)
    if close := get_close_matches(name, names, n=1):
        return f" Did you mean {close[0]!r}?"
    return f"\n  Fields here: {', '.join(names)}."


def _homes(name: str, root: type[Message]) -> list[str]:
    """The blocks of a spec that have a field of that name."""
    places = (place.rpartition(".") for place in _places(root.DESCRIPTOR))
    return [block or "the top level" for block, _, field in places if field == name]


@cache
def _places(root: Descriptor) -> tuple[str, ...]:
    """The path of every field under ``root``."""

    def walk(descriptor: Descriptor, prefix: str) -> Iterator[str]:
        for field in descriptor.fields:
            yield f"{prefix}{field.name}"
            if field.message_type is not None and not is_map(field):
                yield from walk(field.message_type, f"{prefix}{field.name}.")

    return tuple(walk(root, ""))
