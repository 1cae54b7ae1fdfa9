"""What a user sees of a running command: log messages, and a copy of it all in a file."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click


@contextmanager
def log_shown(*, verbose: bool) -> Iterator[None]:
    """Show log messages on stderr: frcnn's from INFO on, other packages' from WARNING on.

    Args:
        verbose: show DEBUG messages too, and what TensorFlow's C++ code says.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if verbose else "2")
    handler = _ClickHandler()
    handler.addFilter(_is_ours_or_serious)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("frcnn")


class _ClickHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the time, coloured when that is a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if record.levelno >= logging.ERROR:
                click.secho(f"Error: {text}", fg="red", err=True)
            elif record.levelno >= logging.WARNING:
                click.secho(f"Warning: {text}", fg="yellow", err=True)
            else:
                click.echo(text, err=True)
        except Exception:  # logging must never stop the program it reports on
            self.handleError(record)


@contextmanager
def copied_to(path: Path) -> Iterator[None]:
    """Append what is written to stdout and stderr, and the traceback of a bug, to ``path``.

    Python's own writing is copied; what C++ code writes to the descriptors is not.

    Raises:
        click.BadParameter: the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("a", encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.", param_hint="--log_file") from error
    stdout, stderr = sys.stdout, sys.stderr
    copies = _Copy(stdout, log), _Copy(stderr, log)
    sys.stdout, sys.stderr = copies
    try:
        yield
    except Exception as error:
        if not isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
            traceback.print_exc(file=log)
        raise
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        for copy in copies:
            copy.finish()
        log.close()


class _Copy:
    """A text stream that also writes whole lines, without colours, to a log file.

    Of a line that is drawn again and again after a carriage return, such as a progress bar,
    the log keeps the last state.
    """

    _CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

    def __init__(self, stream: TextIO, log: TextIO):
        self._stream = stream
        self._log = log
        self._line = ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log.write(self._clean(line) + "\n")
        if "\r" in self._line:
            self._line = self._line[self._line.rindex("\r") :]
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
        self._log.flush()

    def finish(self) -> None:
        """Write what is left of an unfinished line."""
        if self._clean(self._line):
            self._log.write(self._clean(self._line) + "\n")
        self._line = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _clean(self, line: str) -> str:
        return self._CONTROL.sub("", line).rstrip("\r").rpartition("\r")[2]


def load_tensorflow() -> None:
    """Import TensorFlow and let it find its devices, with its chatter about both kept back.

    TensorFlow 2.21 writes several lines to stderr while it is imported and when it first looks
    for a GPU, whatever ``TF_CPP_MIN_LOG_LEVEL`` says.  They are shown with ``--verbose``, and
    when loading fails.
    """
    verbose = logging.getLogger().isEnabledFor(logging.DEBUG)
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            verbose = True
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            if verbose:
                chatter.seek(0)
                os.write(2, chatter.read())
