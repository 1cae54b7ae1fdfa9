"""Objects from Pascal VOC's XML, with the lines they stand on.

Source: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", and the
annotations of its development kit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from frcnn_core.data import Labels, Object, class_name
from frcnn_core.data.label_files import LabelFiles
from frcnn_core.errors import DataError

_ROOT = "annotation"
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocFiles(LabelFiles):
    """A folder of XML files, at any depth.

    Args:
        one_based: a box from 1 to 10 has its first and last pixel there, so that it goes from
            0 to 10 in continuous coordinates.
    """

    suffix = ".xml"

    def __init__(self, folder: Path, *, one_based: bool = False):
        super().__init__(folder)
        self._shift = 1.0 if one_based else 0.0

    def parse(self, data: bytes, place: str, size: tuple[int, int] | None) -> Labels:
        document = _Document(place)
        document.parse(data)
        objects, places, problems = [], [], []
        for element in document.objects:
            where = f"{place}:{element.line}"
            try:
                objects.append(_object(element, self._shift))
                places.append(where)
            except DataError as error:
                problems += [f"{where}: {line}" for line in str(error).splitlines()]
        if problems:
            raise DataError("\n".join(problems))
        return Labels(tuple(objects), tuple(places), _size(document))


@dataclass
class _Element:
    """An ``<object>``: the line it begins on, and the texts below it by their path."""

    line: int
    texts: dict[str, str] = field(default_factory=dict)


class _Document:
    """The texts of a file that are about its image and its objects.

    What stands in a ``<part>`` of an object, or in elements nobody asks for, is kept under a path
    of its own and mixes with nothing.
    """

    def __init__(self, place: str):
        self.objects: list[_Element] = []
        self.texts: dict[str, str] = {}
        self._place = place
        self._path: list[str] = []
        self._text: list[str] = []

    def parse(self, data: bytes) -> None:
        """Read a file's content.

        Raises:
            DataError: it is not well-formed, not of VOC, or has a DTD.
        """
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise DataError(f"{self._place}:{error.lineno}: not well-formed XML: {reason}.") from (
                error
            )
        except (ValueError, LookupError) as error:  # an encoding that Python does not have
            raise DataError(f"{self._place}: cannot be read as XML: {error}.") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != _ROOT:
            raise DataError(
                f"{self._place}:{self._parser.CurrentLineNumber}: begins with <{name}>, but VOC"
                f" labels begin with <{_ROOT}>."
            )
        self._path.append(name)
        self._text.clear()
        if self._path == [_ROOT, "object"]:
            self.objects.append(_Element(self._parser.CurrentLineNumber))

    def _end(self, name: str) -> None:
        inside = self._path[1:]
        text = "".join(self._text).strip()
        self._text.clear()
        self._path.pop()
        if not text:
            return
        if inside[:1] == ["object"]:
            self.objects[-1].texts.setdefault("/".join(inside[1:]), text)
        else:
            self.texts.setdefault("/".join(inside), text)

    def _doctype(self, *declaration: object) -> None:
        # Entities can name files, and grow without bounds.
        raise DataError(
            f"{self._place}:{self._parser.CurrentLineNumber}: has a <!DOCTYPE ...>, which labels"
            " have no use for; remove it."
        )


def _object(element: _Element, shift: float) -> Object:
    """An object, ``shift`` pixels to the left and up at its first corner."""
    problems, values = [], {}
    name = class_name(element.texts.get("name", ""))
    if not name:
        problems.append("the object has no <name>.")
    for side in _SIDES:
        text = element.texts.get(f"bndbox/{side}")
        if text is None:
            problems.append(f"the object has no <bndbox> with <{side}>.")
            continue
        values[side] = _number(text)
        if not math.isfinite(values[side]):
            problems.append(f"{side} is {text!r}, but must be a number.")
    difficult = element.texts.get("difficult", "0")
    if not math.isfinite(_number(difficult)):
        problems.append(f"difficult is {difficult!r}, but must be 0 or 1.")
    if problems:
        raise DataError("\n".join(problems))
    return Object(
        name,
        x1=values["xmin"] - shift,
        y1=values["ymin"] - shift,
        x2=values["xmax"],
        y2=values["ymax"],
        occlusion=int(_number(difficult) != 0),
    )


def _size(document: _Document) -> tuple[int, int] | None:
    """Height and width; None where they are not there or 0, as some tools write them."""
    sides = [_number(document.texts.get(f"size/{side}", "0")) for side in ("height", "width")]
    if not all(math.isfinite(side) and side > 0 for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
