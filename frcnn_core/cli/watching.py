"""Follows the processes that train together to their common end, and shows their user one program.

Each process has a pipe as its stdin.  ``stop`` in it asks for an orderly end, and its end means
that the launcher is gone; both reach other machines too.
"""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO

import click

from frcnn_core.cli.outcomes import Outcome

logger = logging.getLogger(__name__)

GRACE = 4.0
"""Seconds that processes have to end by themselves after one has failed."""

_REPEATS = 1.0
"""Seconds in which several processes are expected to give the same warning."""


@dataclass(frozen=True)
class Ending:
    """How the processes of a training ended, together."""

    exit_code: int
    message: str = ""
    """Why, unless well; empty where the user has been told, or knows."""
    rank: int | None = None
    """The process whose message it is."""
    kind: str = ""
    """As of ``Outcome``, or ``killed``, where no process could tell."""


@dataclass
class Worker:
    """One of the processes, seen from the one that started it."""

    rank: int
    size: int
    host: str
    process: subprocess.Popen
    remote: bool
    outcome: Outcome | None = None
    exit_code: int | None = None
    """None while it runs; below 0 it is a signal's number."""
    is_put_down: bool = False
    """Whether it was killed here, because another one had failed or at a second Ctrl-C."""
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=15))

    def __str__(self) -> str:
        return f"process {self.rank} on {self.host}"

    @property
    def failed(self) -> bool:
        """Whether it ended, or is about to, otherwise than well or as it was asked to."""
        if self.outcome:
            return self.outcome.kind != "interrupted"
        return self.exit_code not in (None, 0, 130)

    def ask_to_stop(self) -> None:
        pipe = self.process.stdin
        if pipe is not None:
            self._try(lambda: (pipe.write("stop\n"), pipe.flush()))

    def kill(self) -> None:
        """End it at once; one on another machine ends when its stdin does."""
        self.is_put_down = True
        self._try(self.process.kill)

    @staticmethod
    def _try(action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError:
            pass  # it has just ended


class Watch:
    """Follows the processes until all have ended."""

    def __init__(self, workers: Sequence[Worker], *, several_machines: bool):
        self._workers = workers
        self._several_machines = several_machines
        self._events: queue.Queue = queue.Queue()
        self._failures: list[Worker] = []
        """In the order in which they were noticed."""
        self._deadline = float("inf")
        """When those that still run are killed."""
        self._held: deque[tuple[float, Worker, str]] = deque()
        self._shown: set[str] = set()
        self._stops = 0

    def to_the_end(self) -> Ending:
        with self._signals_counted():
            for worker in self._workers:
                threading.Thread(target=self._follow, args=(worker,), daemon=True).start()
            try:
                self._run()
            finally:
                self._kill_the_rest()
        return self._ending()

    @contextmanager
    def _signals_counted(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM, for ``_run`` to look at."""

        def count(number: int, frame: FrameType | None) -> None:
            # Some starters send SIGTERM again and again; only a person means more by a second.
            if number == signal.SIGINT or not self._stops:
                self._stops += 1

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, count) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # Threads: what comes from the processes, as events -----------------------------------------

    def _follow(self, worker: Worker) -> None:
        process = worker.process
        readers = [
            threading.Thread(target=self._read, args=(worker, kind, stream), daemon=True)
            for kind, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        exit_code = process.wait()
        for reader in readers:
            # ssh may leave a process behind that keeps the pipe open (ControlPersist).
            reader.join(timeout=1)
        self._events.put((worker, "ended", exit_code))

    def _read(self, worker: Worker, kind: str, stream: TextIO) -> None:
        for line in stream:
            self._events.put((worker, kind, line))

    # The main thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        asked = 0
        while any(worker.exit_code is None for worker in self._workers):
            try:
                worker, kind, value = self._events.get(timeout=0.1)
            except queue.Empty:
                pass
            else:
                getattr(self, f"_on_{kind}")(worker, value)
            if self._stops > asked:
                asked = self._stops
                if asked == 1:
                    # It tells the others, so that all stop after the same step.
                    self._workers[0].ask_to_stop()
                else:
                    self._deadline = 0.0
            self._release_held()
            if time.monotonic() > self._deadline:
                self._kill_the_rest()

    def _kill_the_rest(self) -> None:
        for worker in self._workers:
            if worker.exit_code is None:
                worker.kill()

    def _on_stdout(self, worker: Worker, line: str) -> None:
        if worker.rank == 0:
            click.echo(line, nl=False)
        else:
            logger.debug("[%s] %s", worker, line.rstrip())

    def _on_stderr(self, worker: Worker, line: str) -> None:
        if outcome := Outcome.of_line(line):
            worker.outcome = outcome
            if worker.failed:
                self._note_failure(worker)
            return
        worker.last_words.append(line)
        if self._failures or not line.strip():
            return  # what a failure of another process makes it say
        if worker.rank == 0:
            self._shown.add(line)
            click.echo(line, nl=False, err=True)
        else:
            self._held.append((time.monotonic(), worker, line))

    def _on_ended(self, worker: Worker, exit_code: int) -> None:
        worker.exit_code = exit_code
        if worker.failed:
            self._note_failure(worker)

    def _note_failure(self, worker: Worker) -> None:
        if worker not in self._failures:
            self._failures.append(worker)
        grace = 1.0 if self._stops else GRACE
        self._deadline = min(self._deadline, time.monotonic() + grace)
        self._held.clear()

    def _release_held(self, *, every: bool = False) -> None:
        """Show what processes other than the first said, unless another has just said it too."""
        while self._held and (every or time.monotonic() - self._held[0][0] > _REPEATS):
            _, worker, line = self._held.popleft()
            if line not in self._shown:
                self._shown.add(line)
                click.echo(f"[{worker}] {line}", nl=False, err=True)

    def _ending(self) -> Ending:
        if not self._failures:
            self._release_held(every=True)
            return Ending(max(worker.exit_code or 0 for worker in self._workers))
        by_kind: dict[str, Worker] = {}
        for worker in self._failures:
            if worker.outcome or not worker.is_put_down:
                by_kind.setdefault(worker.outcome.kind if worker.outcome else "killed", worker)
        # A cause counts more than what others say of its effect.
        causes = [kind for kind in ("error", "bug", "killed", "lost") if kind in by_kind]
        if self._stops and causes[:1] not in (["error"], ["bug"]):
            return Ending(130, "Interrupted.", kind="interrupted")
        kind, worker = causes[0], by_kind[causes[0]]
        if worker.outcome is None:
            return Ending(1, _how_it_ended(worker), worker.rank, kind)
        message = worker.outcome.message
        if self._several_machines and kind == "error":
            message += f"\n  (from {worker})"
        elif kind == "bug" and worker.rank:
            message = f"[{worker}] {message}"
        return Ending(worker.outcome.exit_code, message, worker.rank, kind)


def _how_it_ended(worker: Worker) -> str:
    """What to tell of a process that could not tell itself."""
    code = worker.exit_code or 0
    name = f"Process {worker.rank} of {worker.size} ({worker.host})"
    said = "".join(f"  {line}" for line in worker.last_words if line.strip()).rstrip()
    said = f" The last it said:\n{said}" if said else ""
    if worker.remote and code == 255:
        return f"{name}: the connection by ssh failed or broke off.{said}"
    # A shell in between, as ssh has one, gives 128 and the number.
    number = -code if code < 0 else code - 128 if code > 128 else 0
    if number == signal.SIGKILL:
        return (
            f"{name} was killed by signal 9 (out of memory? `dmesg` tells; a smaller "
            "batch_size_per_gpu or fewer processes need less)."
        )
    if number:
        # Horovod 0.28.1 as published takes HOROVOD_GLOO_IFACE for its first connections only.
        own_name = "gloo::" in said and "connect [127." in said
        hint = (
            "\n  This Horovod looks up the address of a machine by the machine's own name "
            "(`hostname`); one that `make horovod` builds does not. Or let the name stand for the "
            "address in the network in /etc/hosts, not for 127.0.0.1 or 127.0.1.1."
        )
        return (
            f"{name} was killed by signal {number} ({signal.strsignal(number)}).{said}"
            f"{hint if own_name else ''}"
        )
    return f"{name} ended with exit code {code}.{said}"
