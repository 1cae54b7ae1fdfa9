"""Protobuf text format to a tree of fields that know their line and column.

protobuf's own parser stops at the first mistake and forgets where things were.  This one only
reads the grammar; what the names and values mean is decided by ``reader.py``, which hands each
value back to protobuf.

Source: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """Where something was written, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Scalar:
    """A value as it was written, e.g. ``1e-4``, ``RGB`` or ``'a' "b"``."""

    text: str
    position: Position


@dataclass(frozen=True)
class Block:
    """The fields between two braces."""

    fields: tuple[Field, ...]
    position: Position


@dataclass(frozen=True)
class Field:
    """A name and its value, or its values if it was written as ``name: [a, b]``."""

    name: str
    position: Position
    values: tuple[Scalar | Block, ...]
    is_list: bool


class BadSyntax(Exception):
    """The text is not protobuf text format."""

    def __init__(self, position: Position, message: str):
        super().__init__(message)
        self.position = position


def parse(text: str) -> tuple[Field, ...]:
    """The fields of a whole file.

    Raises:
        BadSyntax: at the first place where the grammar is broken.
    """
    return _Parser(_tokens(text)).fields(until="")


class _Token(NamedTuple):
    kind: str  # "word", "number", "string", "mark", or "" at the end
    text: str
    position: Position


_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
      | (?P<number>[-+]?(?:\.?\d[\w.+-]*|(?<=[-+])(?:inf|nan)\w*))
      | (?P<word>[A-Za-z_]\w*)
      | (?P<string>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
      | (?P<mark>[][{}<>:,;=])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}


def _tokens(text: str) -> list[_Token]:
    tokens, offset, line, line_start = [], 0, 1, 0
    while offset < len(text):
        position = Position(line, offset - line_start + 1)
        match = _TOKEN.match(text, offset)
        if match is None:
            if text[offset] in "\"'":
                raise BadSyntax(position, "this quote is not closed on its line.")
            raise BadSyntax(position, f"{text[offset]!r} does not belong here.")
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), position))
        if newlines := match.group().count("\n"):
            line += newlines
            line_start = match.start() + match.group().rindex("\n") + 1
        offset = match.end()
    tokens.append(_Token("", "", Position(line, offset - line_start + 1)))
    return tokens


class _Parser:
    """Recursive descent: one method for each thing in the grammar."""

    def __init__(self, tokens: list[_Token]):
        self._tokens = tokens
        self._next = 0

    def fields(self, until: str) -> tuple[Field, ...]:
        opening = self._tokens[self._next - 1]
        fields = []
        while self._peek.text != until:
            if self._peek.kind == "":
                raise BadSyntax(opening.position, f"this {opening.text!r} is never closed.")
            fields.append(self._field())
        self._take()
        return tuple(fields)

    def _field(self) -> Field:
        name = self._take()
        if name.text in (">", "}"):
            raise BadSyntax(name.position, f"this {name.text!r} closes nothing.")
        if name.kind != "word":
            raise BadSyntax(name.position, f"expected the name of a field, not {name.text!r}.")
        values: tuple[Scalar | Block, ...]
        has_colon = self._try(":")
        if self._peek.text in _CLOSING:
            values, is_list = (self._block(),), False
        elif not has_colon:
            found = f", not {self._peek.text!r}" if self._peek.text else ""
            raise BadSyntax(
                self._peek.position, f"expected ':' or '{{' after {name.text!r}{found}."
            )
        elif self._try("["):
            values, is_list = self._list(), True
        else:
            values, is_list = (self._scalar(name.text),), False
        self._try(",") or self._try(";")
        return Field(name.text, name.position, values, is_list)

    def _block(self) -> Block:
        opening = self._take()
        return Block(self.fields(_CLOSING[opening.text]), opening.position)

    def _list(self) -> tuple[Scalar | Block, ...]:
        values: list[Scalar | Block] = []
        if self._try("]"):
            return ()
        while True:
            values.append(self._block() if self._peek.text in _CLOSING else self._scalar("["))
            if self._try("]"):
                return tuple(values)
            if not self._try(","):
                raise BadSyntax(self._peek.position, "expected ',' or ']' in this list.")

    def _scalar(self, after: str) -> Scalar:
        token = self._take()
        if token.kind in ("", "mark"):
            found = repr(token.text) if token.text else "the end of the file"
            raise BadSyntax(token.position, f"expected a value after {after!r}, not {found}.")
        text = token.text
        while token.kind == "string" and self._peek.kind == "string":  # adjacent texts are one
            text += " " + self._take().text
        return Scalar(text, token.position)

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _try(self, mark: str) -> bool:
        found = self._peek.kind == "mark" and self._peek.text == mark
        if found:
            self._take()
        return found
