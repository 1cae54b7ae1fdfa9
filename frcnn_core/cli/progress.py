"""How far a command is: a bar in a terminal, a line now and then where output goes to a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Advance = Callable[..., None]
"""``advance(count, **fields)``: so many more are done; fields, such as losses, are shown."""


@contextmanager
def progress(
    title: str,
    total: int,
    *,
    unit: str = "images",
    interval: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Show progress on stdout while the block runs::

        with progress("Epoch 3/16", len(images)) as advance:
            for batch in batches:
                ...
                advance(len(batch), loss=f"{loss:.4f}")

    Args:
        total: how many of ``unit`` there are.
        interval: least seconds between two lines where stdout is no terminal.
        clock: seconds from any start.
    """
    if sys.stdout.isatty():
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        lines = _Lines(title, total, unit, interval=interval, clock=clock)
        yield lines.advance
        lines.finish()


@contextmanager
def progress_of(title: str, *, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """The same for functions that count themselves, and call ``progress(done, total)``."""
    with ExitStack() as stack:
        advance, before = None, 0

        def report(done: int, total: int) -> None:
            nonlocal advance, before
            advance = advance or stack.enter_context(progress(title, total, unit=unit))
            advance(done - before)
            before = done

        yield report


@contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}", markup=False),
    )
    with Progress(*columns, console=Console(file=sys.stdout)) as bar:
        task = bar.add_task(title, total=total, rate="", shown="")

        def advance(count: int = 1, **fields: str) -> None:
            speed = bar.tasks[0].speed
            bar.update(
                task,
                advance=count,
                rate=_rate(speed, unit) if speed else "",
                shown=_shown(fields),
            )

        yield advance


class _Lines:
    """Prints a line when enough time has passed since the last one, and one at the end."""

    def __init__(
        self, title: str, total: int, unit: str, *, interval: float, clock: Callable[[], float]
    ):
        self._title = title
        self._total = total
        self._unit = unit
        self._interval = interval
        self._clock = clock
        self._start = self._last_time = clock()
        self._done = self._last_done = 0
        self._fields: dict[str, str] = {}

    def advance(self, count: int = 1, **fields: str) -> None:
        self._done += count
        self._fields = fields
        now = self._clock()
        if self._done < self._total and now - self._last_time >= self._interval:
            # The rate since the last line: a first step may take many times as long as others.
            rate = (self._done - self._last_done) / (now - self._last_time)
            left = (self._total - self._done) / rate if rate else float("inf")
            self._print(rate, f"{_duration(left)} left")
            self._last_time, self._last_done = now, self._done

    def finish(self) -> None:
        elapsed = self._clock() - self._start
        self._print(self._done / max(elapsed, 1e-3), f"took {_duration(elapsed)}")

    def _print(self, rate: float, duration: str) -> None:
        counted = f"{self._done}/{self._total} {self._unit}"
        parts = [f"{self._title}: {counted}", _rate(rate, self._unit), duration]
        print(", ".join([*parts, *filter(None, [_shown(self._fields)])]), flush=True)


def _rate(rate: float, unit: str) -> str:
    return f"{rate:.3g} {unit}/s" if rate < 100 else f"{rate:.0f} {unit}/s"


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _shown(fields: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
