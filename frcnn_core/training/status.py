"""``status.json``: what a run does, one JSON object a line, for programs that watch it.

The fields are those of TAO 5.0: ``date`` (m/d/yyyy) and ``time`` (h:m:s) without leading zeros,
``status``, ``verbosity``, ``message``, and where they apply ``categorical``, ``graphical`` and
``kpi``; an epoch adds ``epoch``, ``max_epoch``, ``time_per_epoch`` and ``eta``.

Source: nvidia_tao_tf1, ``cv/common/logging/logging.py`` and ``callbacks/loggers.py``.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from frcnn_core.errors import FrcnnError

logger = logging.getLogger(__name__)

Status = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE", "SKIPPED"]
Verbosity = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class StatusLog:
    """Appends to a status file; earlier runs' lines stay.

    Each line is one write, so a reader never sees half of one.  A status file that cannot be
    written is no reason to stop a training: it is warned about, once.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = datetime.now):
        """
        Args:
            path: e.g. ``<results_dir>/status.json``; made with its folder when missing.
            now: the clock.
        """
        self.path = Path(path)
        self._now = now
        self._warned = False

    @contextmanager
    def running(self, task: str) -> Iterator[None]:
        """STARTED at the beginning of the block, SUCCESS or FAILURE with the reason at its end.

        Args:
            task: e.g. ``training``.
        """
        self.write(f"Starting {task}.", status="STARTED")
        try:
            yield
        except FrcnnError as error:
            self.write(f"{task} failed: {error}", status="FAILURE", verbosity="ERROR")
            raise
        except KeyboardInterrupt:
            self.write(f"{task} was interrupted.", status="FAILURE", verbosity="WARNING")
            raise
        except BaseException as error:
            message = f"{task} failed: {type(error).__name__}: {error}"
            self.write(message, status="FAILURE", verbosity="CRITICAL")
            raise
        self.write(f"{task} finished successfully.", status="SUCCESS")

    def epoch(
        self,
        epoch: int,
        max_epoch: int,
        *,
        seconds: float,
        graphical: Mapping[str, Any],
        kpi: Mapping[str, Any] | None = None,
    ) -> None:
        """One line for a finished epoch.

        Args:
            epoch: counted from 1.
            max_epoch: how many there will be.
            seconds: that this one took; the time left follows from it.
            graphical: what can be plotted, e.g. ``loss`` and ``learning_rate``.
            kpi: what the model is judged by, e.g. ``mean average precision``.
        """
        self.write(
            "Training loop in progress",
            graphical=graphical,
            kpi=kpi,
            epoch=epoch,
            max_epoch=max_epoch,
            time_per_epoch=_duration(seconds),
            eta=_duration(seconds * (max_epoch - epoch)),
        )

    def write(
        self,
        message: str,
        *,
        status: Status = "RUNNING",
        verbosity: Verbosity = "INFO",
        categorical: Mapping[str, Any] | None = None,
        graphical: Mapping[str, Any] | None = None,
        kpi: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """One line.  Numbers may be numpy's; what is not finite becomes null, as JSON wants it.

        Args:
            message: for a person.
            categorical: numbers by class, by name of the table.
            graphical: numbers that can be plotted, by name.
            kpi: numbers that the model is judged by, by name.
            fields: anything else, e.g. ``epoch``.
        """
        now = self._now()
        line: dict[str, Any] = {
            **fields,
            "date": f"{now.month}/{now.day}/{now.year}",
            "time": f"{now.hour}:{now.minute}:{now.second}",
            "status": status,
            "verbosity": verbosity,
            "message": message,
        }
        groups = {"categorical": categorical, "graphical": graphical, "kpi": kpi}
        line |= {name: dict(group) for name, group in groups.items() if group}
        self._append(json.dumps(_plain(line), ensure_ascii=False, allow_nan=False))

    def _append(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+", buffering=0) as file:
                file.write(_missing_line_end(file) + line.encode() + b"\n")
        except OSError as error:
            if not self._warned:
                logger.warning("%s cannot be written: %s", self.path, error.strerror)
                self._warned = True


def _missing_line_end(file: Any) -> bytes:
    """What ends the last line, should a crash have cut it."""
    if not file.seek(0, 2):
        return b""
    file.seek(-1, 2)
    return b"" if file.read(1) == b"\n" else b"\n"


def _duration(seconds: float) -> str:
    """E.g. ``1:02:03``."""
    return str(timedelta(seconds=round(seconds)))


def _plain(value: Any) -> Any:
    """``value`` as JSON can say it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
