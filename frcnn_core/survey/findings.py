"""What can be wrong with a data set, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Severity(Enum):
    """How bad a finding is."""

    ERROR = "error"
    """Something is lost or learnt wrong, or the data cannot be used."""
    WARNING = "warning"
    """Probably not meant."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Kind:
    """One thing that can be wrong."""

    severity: Severity
    title: str
    """What was found, in the plural."""


ERROR, WARNING, NOTE = Severity

KINDS = {
    "unusable-source": Kind(ERROR, "images, labels or records that cannot be opened"),
    "missing-image": Kind(ERROR, "labels or records whose image is missing"),
    "unreadable-image": Kind(ERROR, "images that cannot be read"),
    "missing-label": Kind(ERROR, "images without labels"),
    "bad-label": Kind(ERROR, "labels that cannot be read"),
    "size-mismatch": Kind(ERROR, "images of another size than their labels say"),
    "labels-turned": Kind(ERROR, "labels for the image before it is turned upright"),
    "not-a-number": Kind(ERROR, "boxes with a coordinate that is no number"),
    "zero-area": Kind(ERROR, "boxes without width or height"),
    "inside-out": Kind(ERROR, "boxes whose right or lower edge comes first"),
    "outside": Kind(ERROR, "boxes outside of their image"),
    "duplicate-across-splits": Kind(ERROR, "images that are in another split too"),
    "largely-outside": Kind(WARNING, "boxes of which more than a quarter is outside of the image"),
    "duplicate-image": Kind(WARNING, "images that are in the split twice"),
    "duplicate-box": Kind(WARNING, "boxes that are there twice"),
    "too-many-objects": Kind(WARNING, "images with more objects than max_objects_num_per_image"),
    "image-cut": Kind(WARNING, "images that are cut to the network's size"),
    "unknown-class": Kind(WARNING, "classes that target_class_mapping leaves out"),
    "similar-classes": Kind(WARNING, "classes whose names are nearly the same"),
    "absent-class": Kind(WARNING, "classes without objects"),
    "unused-label": Kind(WARNING, "label files without an image"),
    "rare-class": Kind(NOTE, "classes with few objects"),
    "slightly-outside": Kind(NOTE, "boxes that reach out of their image"),
    "dropped-box": Kind(NOTE, "boxes too small to be trained on"),
    "small-box": Kind(NOTE, "boxes smaller than a cell of the feature map"),
    "empty-image": Kind(NOTE, "images without objects"),
    "repeated-image": Kind(NOTE, "images that are in the records of a split more than once"),
    "turned-image": Kind(NOTE, "images that are stored turned"),
    "unlisted-image": Kind(NOTE, "images that the labels do not list"),
}
"""Code -> what it stands for, the worst first.  Codes stay as they are: programs read them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one file, box or class."""

    code: str
    """A key of ``KINDS``."""
    place: str
    """File and, where there is one, line, annotation or record; or the name of a class."""
    reason: str
    """What is wrong there, as a sentence."""
    image: str = ""
    """The image file, where it is about one."""
    class_name: str = ""
    """As in the labels, where it is about an object or a class."""
    box: tuple[float, float, float, float] | None = None
    """(x1, y1, x2, y2) in pixels of the image file."""
    split: str = ""

    @property
    def severity(self) -> Severity:
        return KINDS[self.code].severity

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, without what does not apply."""
        fields = {
            "code": self.code,
            "severity": self.severity.value,
            "split": self.split,
            "place": self.place,
            "image": self.image,
            "class": self.class_name,
            "box": self.box and [_number(side) for side in self.box],
            "reason": self.reason,
        }
        return {key: value for key, value in fields.items() if value}

    def __str__(self) -> str:
        about = []
        if self.class_name and self.class_name not in self.place:
            about.append(self.class_name)
        if self.box:
            about.append("box " + " ".join(f"{side:g}" for side in self.box))
        return f"{self.place}: {', '.join(about)}{': ' if about else ''}{self.reason}"


def _number(value: float) -> float | str:
    """JSON has no number for these."""
    finite = value - value == 0
    return value if finite else str(value)
