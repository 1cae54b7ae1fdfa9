"""Spec files: read, with the defaults underneath and positions on the side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from frcnn_core.errors import SpecError
from frcnn_core.spec import syntax
from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig
from frcnn_core.spec.defaults import fill_in
from frcnn_core.spec.experiment_pb2 import Experiment
from frcnn_core.spec.problems import Problem, refuse
from frcnn_core.spec.reader import Reader
from frcnn_core.spec.syntax import Position


@dataclass(frozen=True)
class Spec:
    """A spec that was read, with what its author wrote and where."""

    path: str
    """Name for messages: the path as it was given."""
    text: str
    """What the file holds, unchanged."""
    message: Any
    """``Experiment`` or ``DatasetExportConfig``, defaults filled in."""
    given: Any
    """The same message with nothing but what the author wrote."""
    positions: dict[str, Position]
    """Where each field was written: ``a.b``, entries as ``a.list[0]`` and ``a.map[key]``."""
    warnings: tuple[Problem, ...] = ()
    """What was read but is probably not what its author meant."""

    def wrote(self, field: str) -> bool:
        """Whether the author wrote ``field`` (also: as False or 0)."""
        return field in self.positions

    def where(self, field: str = "") -> str:
        """``file:line:column`` of ``field``, else of the nearest block around it, else the file."""
        while field and field not in self.positions:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        if not field:
            return self.path
        line, column = self.positions[field]
        return f"{self.path}:{line}:{column}"


def load(path: str | Path) -> Spec:
    """Read an experiment spec.

    Raises:
        SpecError: the file cannot be read, or holds something the language does not have.
    """
    return loads(_read(path), str(path))


def loads(text: str, name: str = "spec") -> Spec:
    """An experiment spec from its text; ``name`` stands for the file in messages."""
    return _spec(Experiment, text, name)


def load_dataset_spec(path: str | Path) -> Spec:
    """Read the spec of ``frcnn dataset_convert``; raises as ``load`` does."""
    return loads_dataset_spec(_read(path), str(path))


def loads_dataset_spec(text: str, name: str = "spec") -> Spec:
    """A dataset spec from its text; ``name`` stands for the file in messages."""
    return _spec(DatasetExportConfig, text, name)


def load_either(path: str | Path) -> Spec:
    """Read a spec of either kind; its top-level fields tell which. Raises as ``load`` does."""
    text = _read(path)
    try:
        names = {field.name for field in syntax.parse(text)}
    except syntax.BadSyntax:
        names = set()  # the error is the same for both kinds
    own, other = (
        names & set(kind.DESCRIPTOR.fields_by_name) for kind in (DatasetExportConfig, Experiment)
    )
    return (loads_dataset_spec if len(own) > len(other) else loads)(text, str(path))


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8.") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from error


def _spec(kind: type[Message], text: str, name: str) -> Spec:
    given = kind()
    reader = Reader(name, kind)
    try:
        reader.read(syntax.parse(text), given, "")
    except syntax.BadSyntax as error:
        line, column = error.position
        raise SpecError(f"{name}:{line}:{column}: {error}") from None
    warnings = refuse(reader.problems)
    message = kind()
    message.CopyFrom(given)
    fill_in(message)
    return Spec(name, text, message, given, reader.positions, tuple(warnings))
