"""How one process of a training ended, told to the process that started it.

A worker writes its outcome as one marked line to stderr, which also comes over ssh.  The launcher
takes these lines out of what it shows, so that a failure that reaches every process, or that others
only suffer from, is told once.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

import click

from frcnn_core.errors import FrcnnError, WorkerLost

MARK = "\x02frcnn outcome "
"""Begins such a line; no message begins with this control character."""

Kind = Literal["error", "bug", "lost", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """Why a process ended before its training did."""

    kind: Kind
    """``error`` for a user's mistake, ``bug`` for ours, ``lost`` where another process failed."""
    message: str
    """For a bug, the traceback."""
    exit_code: int

    def line(self) -> str:
        """What a worker writes."""
        return f"{MARK}{json.dumps(asdict(self))}\n"

    @classmethod
    def of_line(cls, line: str) -> Outcome | None:
        """The outcome in a line that a worker wrote, or None where it is any other line."""
        if not line.startswith(MARK):
            return None
        return cls(**json.loads(line.removeprefix(MARK)))


@contextmanager
def reported() -> Iterator[None]:
    """Tell the launcher how the block ends, unless well; the exit code is then the same as ever.

    Nothing else is shown of an exception: that is the launcher's to decide.
    """
    try:
        yield
    except (click.exceptions.Exit, SystemExit):
        raise
    except BaseException as error:
        outcome = _outcome_of(error)
        print(f"\n{outcome.line()}", end="", file=sys.stderr, flush=True)
        raise click.exceptions.Exit(outcome.exit_code) from error


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, WorkerLost):
        return Outcome("lost", str(error), 2)
    if isinstance(error, FrcnnError):
        return Outcome("error", str(error), 2)
    if isinstance(error, click.ClickException):
        return Outcome("error", error.format_message(), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Outcome("interrupted", "Interrupted.", 130)
    return Outcome("bug", "".join(traceback.format_exception(error)), 1)
