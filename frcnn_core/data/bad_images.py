"""Image files that cannot be used in training or evaluation: named, counted, up to a limit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from frcnn_core.errors import DataError

logger = logging.getLogger(__name__)

MISSING = "there is no such image."


@dataclass
class BadImages:
    """What was found so far; one for all epochs of a training."""

    limit: int = 0
    """How many files may be bad before it is an error; each file counts once."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Path -> what is wrong with it, in the order they were met."""

    def add(self, found: Mapping[str, str]) -> None:
        """Take note of bad files, by path, and warn of those that are new.

        Raises:
            DataError: there are more than ``limit`` by now; the message lists all.
        """
        new = {path: reason for path, reason in found.items() if path not in self.reasons}
        self.reasons |= new
        self._check()
        for path, reason in new.items():
            logger.warning("%s: %s The image is skipped.", path, reason)

    def merge(self, found: Iterable[Mapping[str, str]]) -> None:
        """Take note of what all processes found, this one included; each has warned of its own.

        Args:
            found: ``reasons`` of each process, in the same order in all of them.

        Raises:
            DataError: as ``add``.
        """
        together = {path: reason for reasons in found for path, reason in reasons.items()}
        self.reasons = together
        self._check()

    def add_missing(self, paths: Iterable[str]) -> None:
        """The same for files that do not exist."""
        self.add(dict.fromkeys(paths, MISSING))

    def summary(self) -> str:
        """One line, or nothing where no image was bad."""
        if not self.reasons:
            return ""
        return f"{_counted(len(self.reasons))} could not be used: skipped, see above."

    def _check(self) -> None:
        if len(self.reasons) > self.limit:
            raise DataError(self._too_many())

    def _too_many(self) -> str:
        listed = "".join(f"\n  {path}: {reason}" for path, reason in self.reasons.items())
        return (
            f"{_counted(len(self.reasons))} cannot be used, and --max-bad allows "
            f"{self.limit}:{listed}\n"
            "Mend or remove them, or raise --max-bad to go on without them."
        )


def _counted(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"
