"""What is wrong with a spec, in a form that can be listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from frcnn_core.errors import SpecError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to type instead."""

    severity: Literal["error", "warning"]
    where: str
    """``file:line:column``, or just the file for something that is missing altogether."""
    field: str
    """Path of the field, e.g. ``model_config.arch``; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.field, self.message) if part)


def refuse(problems: Iterable[Problem]) -> list[Problem]:
    """The problems unchanged if none of them is an error.

    Raises:
        SpecError: with every error, one paragraph each.
    """
    problems = list(problems)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise SpecError("\n".join(map(str, errors)))
    return problems
