"""Which images are in a data set more than once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from frcnn_core.data import Object
from frcnn_core.survey.findings import Finding


class SeenImages:
    """The images so far, told by their content; a few hundred bytes of memory for each."""

    def __init__(self) -> None:
        self._by_content: dict[bytes, dict[str, tuple[str, int]]] = {}
        """Digest -> split -> the first such image in it, and what its labels say."""

    def add(
        self, digest: bytes, image: str, split: str, objects: Sequence[Object]
    ) -> Iterator[Finding]:
        """Take note of an image, and tell where it was before.

        Args:
            digest: of its content, as in ``ImageFacts``.
            image: its file.
            objects: what its labels say, to tell whether both have the same.
        """
        what = hash(frozenset((o.class_name, o.x1, o.y1, o.x2, o.y2) for o in objects))
        earlier = self._by_content.setdefault(digest, {})
        # One finding is enough for each image, and another split weighs more than its own.
        its_split = next((name for name in earlier if name != split), split)
        other, its_objects = earlier.get(its_split, ("", 0))
        earlier.setdefault(split, (image, what))
        if not other:
            return
        labels = "" if its_objects == what else "; its labels say something else"
        if its_split != split:
            name = "" if other == image else f" as {other}"
            yield Finding(
                "duplicate-across-splits", image, f"is in {its_split} too{name}{labels}.", image
            )
        elif other == image:
            yield Finding("repeated-image", image, f"is in {split} more than once{labels}.", image)
        else:
            yield Finding(
                "duplicate-image", image, f"has the same pixels as {other}{labels}.", image
            )
