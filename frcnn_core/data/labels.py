"""What people have said is in an image: the currency between label formats and records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass


def class_name(text: str) -> str:
    """The name of a class as all formats give it: lower case, its words a single blank apart."""
    return " ".join(text.lower().split())


@dataclass(frozen=True, slots=True)
class Object:
    """One labelled object of an image.

    The box is kept as written: x before y, in pixels of the original image, unrounded, and
    possibly reaching outside of the image.
    """

    class_name: str
    """As ``class_name`` makes it: lower case; may be several words, as ``traffic light``."""
    x1: float
    y1: float
    x2: float
    y2: float
    truncation: float = 0.0
    """Fraction of the object outside of the image, 0 to 1."""
    occlusion: int = 0
    """0 fully visible, 1 partly, 2 largely hidden, 3 unknown."""
    observation_angle: float = 0.0
    """Radians."""
    height: float = 0.0
    """Metres, as are all that follow but for the angle."""
    width: float = 0.0
    length: float = 0.0
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    rotation_y: float = 0.0
    """Radians."""
    score: float | None = None
    """Of a detection; None for ground truth."""
    crowd: bool = False
    """The box is around many objects (COCO's ``iscrowd``): nothing to learn from, and neither
    found nor missed in evaluation."""

    @property
    def has_area(self) -> bool:
        return self.x1 < self.x2 and self.y1 < self.y2


@dataclass(frozen=True, slots=True)
class Labels:
    """What one image's labels say."""

    objects: tuple[Object, ...] = ()
    places: tuple[str, ...] = ()
    """Where each object stands, e.g. ``label_2/0001.txt:3``, for messages: the path of the file,
    then what finds the object in it."""
    size: tuple[int, int] | None = None
    """(height, width) of the image in pixels as the labels state it; None where they do not."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image and all that a label file can hold of it, to be written."""

    file: str
    """Path of the image below the image folder, with extension, parts joined by ``/``."""
    size: tuple[int, int]
    """(height, width) in pixels, upright."""
    objects: tuple[Object, ...]

    @property
    def name(self) -> str:
        """``file`` without its extension."""
        return self.file.rpartition(".")[0] or self.file


class LabelSet(ABC):
    """The labels of a folder of images, opened but not read."""

    lists_images: bool = False
    """Whether ``names`` says which images there are (one file for all).  False: the images are
    those that are found, and each should have labels (one file per image)."""

    @property
    @abstractmethod
    def names(self) -> Collection[str]:
        """Images that have labels: paths below the image folder, without extension, parts joined
        by ``/``.  Asking whether one is among them is quick, as with the keys of a dict."""

    @property
    def declared_classes(self) -> Collection[str] | None:
        """Classes that the labels declare, used or not; None where they declare none."""
        return None

    @abstractmethod
    def read(self, name: str, size: tuple[int, int] | None) -> Labels:
        """The labels of one image; safe to call from several threads.

        Args:
            name: as in ``names``.
            size: (height, width) of the upright image in pixels, for formats whose boxes are
                fractions of it; None where it is not known.

        Raises:
            DataError: a line for each problem, each starting with file and line.
        """

    def place(self, name: str) -> str:
        """Where the labels of an image are, or should be, for messages."""
        return name
