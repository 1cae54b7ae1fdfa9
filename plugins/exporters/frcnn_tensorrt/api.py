"""The Python package of TensorRT that is installed, and its one logger.

``tensorrt`` (10 or later) and ``tensorrt_rtx`` (TensorRT for RTX) have the same API.  Where
versions differ, an attribute is there or is not, and the module that needs it asks for it:

- up to TensorRT 10, ``BuilderFlag`` has INT8 and FP16: networks that TensorRT picks precisions
  for, and int8 from a calibration cache.  In TensorRT 11 and TensorRT for RTX each tensor has the
  type that the graph says.
- TensorRT for RTX has ``ComputeCapability``: it builds for GPUs that are not there.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from frcnn_core.errors import FrcnnError

PACKAGES = ("tensorrt", "tensorrt_rtx")
OLDEST = 10
ADVICE = "pip install 'frcnn[tensorrt]', or 'frcnn[tensorrt_rtx]' for TensorRT for RTX"

_log = logging.getLogger("frcnn_tensorrt")


def installed() -> str | None:
    """Which of the packages is here, ``tensorrt`` first; imports neither."""
    return next((name for name in PACKAGES if _is_package(name)), None)


def _is_package(name: str) -> bool:
    # tensorrt-stubs, types without code, is found as a package without an origin.
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


@cache
def load() -> ModuleType:
    """The package, imported.

    Raises:
        FrcnnError: there is none, it cannot be imported, or it is older than TensorRT 10.
    """
    name = installed()
    if name is None:
        raise FrcnnError(f"TensorRT is not installed: {ADVICE}.")
    try:
        package = importlib.import_module(name)
        version = package.__version__
    except Exception as error:  # libraries that do not load raise whatever they like
        raise FrcnnError(f"{name} is installed and cannot be imported: {error}") from error
    if name == "tensorrt" and int(version.split(".")[0]) < OLDEST:
        raise FrcnnError(
            f"TensorRT {version} is too old: its parser lacks RoiAlign as frcnn uses it, and its "
            f"API differs. Install TensorRT {OLDEST} or later: {ADVICE}."
        )
    return package


def require_onnx() -> None:
    """Raises FrcnnError: what reads ONNX models is not installed."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise FrcnnError(f"Reading ONNX needs {', '.join(missing)}: pip install 'frcnn[onnx]'.")


def title(package: ModuleType) -> str:
    """As in ``TensorRT 10.13.0`` and ``TensorRT for RTX 1.7.1``."""
    product = "TensorRT for RTX" if package.__name__ == "tensorrt_rtx" else "TensorRT"
    return f"{product} {package.__version__}"


def picks_precisions(package: ModuleType) -> bool:
    """Whether networks can be built whose precisions TensorRT chooses (TensorRT 10)."""
    return hasattr(package.BuilderFlag, "INT8")


def logger(package: ModuleType) -> Any:
    """An ``ILogger`` that hands on to ``logging.getLogger("frcnn_tensorrt")``.

    A process has one: TensorRT keeps the first that it is given, and ignores others.
    """
    return _logger(package)


@contextmanager
def errors(package: ModuleType) -> Iterator[list[str]]:
    """Gives the list that what TensorRT calls errors meanwhile is added to."""
    collected: list[str] = []
    log = logger(package)
    log.lists.append(collected)
    try:
        yield collected
    finally:
        log.lists.remove(collected)


@cache
def _logger(package: ModuleType) -> Any:
    severity = package.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.DEBUG,  # most are about int64, which is as it should be
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(package.ILogger):  # type: ignore[name-defined]  # whichever is here
        def __init__(self) -> None:
            package.ILogger.__init__(self)
            self.lists: list[list[str]] = []

        def log(self, severity: Any, msg: str) -> None:
            level = levels[severity]
            if level == logging.ERROR and self.lists:
                for collected in self.lists:
                    collected.append(_readable(msg))
                level = logging.DEBUG  # it is told by the error that is raised
            _log.log(level, msg)

    return Logger()


def _readable(message: str) -> str:
    """Without where in TensorRT's source it arose."""
    message = re.sub(r"^\[[\w./]+(::[\w~]+)*::\d+\] ", "", message.strip())
    message = re.sub(r" In \w+ at /\S+", "", message)
    return re.sub(r"\(In \w+ at \S+ (.*)\)", r"(\1", message)
