"""Objects from COCO's JSON: the file is parsed once, an image's objects are made when asked for.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context", and https://cocodataset.org,
"Data format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from frcnn_core.data import Labels, LabelSet, Object, class_name
from frcnn_core.data.label_files import decode, read_bytes
from frcnn_core.errors import DataError

_SECTIONS = ("images", "annotations", "categories")
_MOST = 20
"""Problems of one file that are listed: the wrong file may have a million of one kind."""
_BEGINNING = 1 << 16
"""Bytes that a file is told by."""


class CocoFile(LabelSet):
    """The labels in one JSON file.

    Args:
        compact_names: take white space out of class names.

    Raises:
        DataError: the file cannot be read, is not COCO's, or contradicts itself.
    """

    lists_images = True

    def __init__(self, path: Path, *, compact_names: bool = False):
        self._path = path
        content = _parse(path)
        problems: list[str] = []
        self._images = self._read_images(content["images"], problems)
        self._classes = self._read_categories(content["categories"], compact_names, problems)
        self._annotations = self._group(content["annotations"], problems)
        if problems:
            more = len(problems) - _MOST
            raise DataError(
                "\n".join(problems[:_MOST]) + (f"\n{path}: and {more} more." if more > 0 else "")
            )

    @property
    def names(self) -> Collection[str]:
        return self._images.keys()

    @property
    def declared_classes(self) -> Collection[str]:
        return self._classes.values()

    def place(self, name: str) -> str:
        image = self._images.get(name)
        return f"{self._path}: image {image.file if image else name}"

    def read(self, name: str, size: tuple[int, int] | None) -> Labels:
        image = self._images.get(name)
        if image is None:
            raise DataError(f"{self._path}: has no image called {name!r}.")
        objects, places, problems, ids = [], [], [], set()
        for annotation in self._annotations.get(image.id, ()):
            place = f"{self._path}: annotation {annotation.id}"
            if annotation.id in ids:
                problems.append(f"{place}: is there twice.")
            ids.add(annotation.id)
            try:
                objects.append(self._object(annotation))
                places.append(place)
            except DataError as error:
                problems += [f"{place}: {line}" for line in str(error).splitlines()]
        if problems:
            raise DataError("\n".join(problems))
        return Labels(tuple(objects), tuple(places), image.size)

    def _object(self, annotation: _Annotation) -> Object:
        problems = []
        # A list, say, can be no key.
        name = self._classes.get(_key(annotation.category_id))
        if name is None:
            problems.append(f"category_id {annotation.category_id!r} is no category's id.")
        box = annotation.bbox
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            problems.append(f"bbox is {box!r}, but must be four numbers: x, y, width, height.")
        if annotation.iscrowd not in (0, 1):
            problems.append(f"iscrowd is {annotation.iscrowd!r}, but must be 0 or 1.")
        if name is None or problems:
            raise DataError("\n".join(problems))
        x, y, width, height = map(float, box)
        return Object(
            name,
            x1=x,
            y1=y,
            x2=end(x, width),
            y2=end(y, height),
            occlusion=int(annotation.ignore in (1, True)),
            crowd=bool(annotation.iscrowd),
        )

    def _read_images(self, images: list, problems: list[str]) -> dict[str, _Image]:
        """Name -> image."""
        found: dict[str, _Image] = {}
        ids = set()
        for index, entry in enumerate(images):
            place = f"{self._path}: images[{index}]"
            file, id_ = _field(entry, "file_name"), _key(_field(entry, "id"))
            if not (isinstance(file, str) and file and id_ is not None):
                problems.append(f"{place}: needs an id and a file_name.")
                continue
            # As it was written on Windows, or with ./ before it.
            path = PurePosixPath(file.replace("\\", "/"))
            name = path.with_suffix("").as_posix()
            if id_ in ids:
                problems.append(f"{place}: another image has the id {id_!r} too.")
            elif name in found:
                problems.append(f"{place}: {found[name].file} is there too; rename one of them.")
            else:
                found[name] = _Image(id_, path.as_posix(), _size(entry))
            ids.add(id_)
        return found

    def _read_categories(
        self, categories: list, compact_names: bool, problems: list[str]
    ) -> dict[Any, str]:
        """Category id -> class name."""
        classes: dict[Any, str] = {}
        for index, entry in enumerate(categories):
            place = f"{self._path}: categories[{index}]"
            name, id_ = _field(entry, "name"), _key(_field(entry, "id"))
            if not (isinstance(name, str) and name.strip() and id_ is not None):
                problems.append(f"{place}: needs an id and a name.")
            elif id_ in classes:
                problems.append(f"{place}: another category has the id {id_!r} too.")
            else:
                classes[id_] = class_name(name)
                if compact_names:
                    classes[id_] = classes[id_].replace(" ", "")
        return classes

    def _group(self, annotations: list, problems: list[str]) -> dict[Any, list[_Annotation]]:
        """Image id -> its annotations."""
        groups: dict[Any, list[_Annotation]] = {image.id: [] for image in self._images.values()}
        ids: dict[Any, Any] = {}
        for index, entry in enumerate(annotations):
            if not isinstance(entry, _Annotation):
                problems.append(
                    f"{self._path}: annotations[{index}]: needs an image_id, a category_id and a"
                    " bbox."
                )
                continue
            id_ = _key(entry.id)
            if id_ is None:
                entry = entry._replace(id=f"[{index}]")
            image_id = _key(entry.image_id)
            if image_id not in groups:
                problems.append(
                    f"{self._path}: annotation {entry.id}: image_id {entry.image_id!r} is no"
                    " image's id."
                )
                continue
            # Twice in one image is told when that is read.
            if id_ is not None and ids.setdefault(id_, image_id) != image_id:
                problems.append(f"{self._path}: annotation {id_}: another one has this id too.")
            groups[image_id].append(entry)
        return groups


class _Annotation(NamedTuple):
    """What is kept of an annotation."""

    id: Any
    image_id: Any
    category_id: Any
    bbox: Any
    iscrowd: Any
    ignore: Any


@dataclass(frozen=True, slots=True)
class _Image:
    id: Any
    file: str
    size: tuple[int, int] | None
    """(height, width)."""


def end(start: float, extent: float) -> float:
    """``start + extent`` of the decimals that the file has.

    10.1 + 20.2 is 30.3 so, where the sum of the binary numbers is 30.299999999999997: a box that
    was written with its end at 30.3 comes back.
    """
    if start.is_integer() and extent.is_integer():
        return start + extent
    return float(Decimal(repr(start)) + Decimal(repr(extent)))


def annotation_file(labels: Path) -> Path:
    """The file that is meant by a file, or by a folder with one .json in it.

    Raises:
        DataError: there is none, or several.
    """
    if labels.is_file():
        return labels
    if not labels.is_dir():
        raise DataError(f"{labels}: there is no such file.")
    files = _json_files(labels)
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(path.name for path in files)
        raise DataError(f"{labels}: has several .json files, {names}; name the one to read.")
    raise DataError(f"{labels}: no file ends in .json.")


def looks_like(labels: Path) -> bool:
    """Whether this is a file with a section of COCO's near its beginning, or a folder of some."""
    files = _json_files(labels) if labels.is_dir() else [labels]
    return any(map(_has_section, files[:_MOST]))


def _has_section(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return start == b"{" and any(f'"{name}"'.encode() in beginning for name in _SECTIONS)


def _json_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".json" and not path.name.startswith(".") and path.is_file()
    )


def _parse(path: Path) -> dict[str, list]:
    """The sections of a file; annotations that have what one needs are ``_Annotation``."""
    text = decode(read_bytes(path), str(path))
    try:
        content = json.loads(text, object_hook=_without_masks)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deep to be COCO labels.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not COCO labels, which are an object, {{...}}.")
    missing = [name for name in _SECTIONS if not isinstance(content.get(name), list)]
    if missing:
        raise DataError(f"{path}: not COCO labels: has no list called {' or '.join(missing)}.")
    return content


def _without_masks(entry: dict[str, Any]) -> Any:
    """Called for each object of the file: masks, which are most of it, are let go at once."""
    if "bbox" in entry and "image_id" in entry and "category_id" in entry:
        return _Annotation(
            entry.get("id"),
            entry["image_id"],
            entry["category_id"],
            entry["bbox"],
            entry.get("iscrowd", 0),
            entry.get("ignore", 0),
        )
    return entry


def _field(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else None


def _key(value: Any) -> Any:
    """An id that can be looked up: a whole number or a text; None for anything else."""
    is_id = isinstance(value, int | str) and not isinstance(value, bool)
    return value if is_id else None


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width; None where they are not there or not larger than 0."""
    height, width = entry.get("height", 0), entry.get("width", 0)
    if all(_is_number(side) and side >= 1 for side in (height, width)):
        return int(height), int(width)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
