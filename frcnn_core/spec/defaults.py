"""What the fields of a spec are when they are left out: what the ``*defaults.txt`` files say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from frcnn_core.spec import syntax
from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig
from frcnn_core.spec.model_pb2 import GRAY_SCALE
from frcnn_core.spec.reader import Reader, is_map
from frcnn_core.spec.syntax import Block, Field


def fill_in(message: Any) -> None:
    """Give the fields of a spec that are not set their default."""
    for file in _files(message):
        _fill(message, _tree(file))


def _files(given: Any) -> tuple[str, ...]:
    """The files whose values apply where nothing is given, the first one first."""
    if isinstance(given, DatasetExportConfig):
        return ("dataset_defaults.txt",)
    if given.model_config.input_image_config.image_type == GRAY_SCALE:
        return ("grayscale_defaults.txt", "defaults.txt")
    return ("defaults.txt",)


@cache
def _tree(file: str) -> tuple[Field, ...]:
    return syntax.parse(resources.files("frcnn_core.spec").joinpath(file).read_text("utf-8"))


def _fill(message: Message, defaults: Sequence[Field]) -> None:
    """Put the values of ``defaults`` where ``message`` has none; defaults.txt has the rules."""
    empty = {field.name for field in defaults if not _is_given(message, field.name)}
    for field in defaults:
        descriptor = cast(FieldDescriptor, message.DESCRIPTOR.fields_by_name[field.name])
        choice = descriptor.containing_oneof
        if choice is not None and message.WhichOneof(choice.name) not in (None, field.name):
            continue
        if descriptor.message_type is None or is_map(descriptor):
            if field.name in empty:
                Reader("", type(message)).read([field], message, "")
        else:
            block, value = getattr(message, field.name), field.values[0]
            block.SetInParent()
            _fill(block, cast(Block, value).fields)


def _is_given(message: Message, name: str) -> bool:
    if message.DESCRIPTOR.fields_by_name[name].is_repeated:
        return len(getattr(message, name)) > 0
    return message.HasField(name)
