"""Where the time and the memory of the tests go: a plugin of pytest that `make costs` loads.

After the run it prints tests and seconds by file and by cause, the peak memory of each worker,
and how many tests and asserts there are.  Causes are counted without those inside of them; what
is none of them is Python, numpy, and TensorFlow running what it has built.  With ``COSTS=FILE``
the seconds of every test are written to a file, as JSON.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import resource
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CAUSES = {
    ("subprocess", "Popen.communicate"): "other processes",
    ("subprocess", "Popen.wait"): "other processes",
    (
        "tensorflow.python.eager.polymorphic_function.tracing_compilation",
        "_create_concrete_function",
    ): "tracing",
    ("frcnn_core.training.trainer", "Trainer._step"): "training steps",
    ("frcnn_core.detector.network", "draw"): "drawing networks",
    ("frcnn_core.detector.network", "draw_backbone"): "drawing networks",
    ("keras.src.models.functional", "Functional.__init__"): "drawing networks",
    ("frcnn_onnx.parts", "convert"): "converting to ONNX",
    ("tensorflow.lite.python.lite", "TFLiteConverterV2.convert"): "converting to LiteRT",
    ("openvino", "Core.compile_model"): "compiling in OpenVINO",
    ("onnxruntime", "InferenceSession.__init__"): "opening ONNX Runtime",
}
"""(module, attribute) of a function -> what its time is called."""

SHOWN = 25
TESTS = Path(__file__).parent

_running: list[list[float]] = []
_seconds: Counter[str] = Counter()
_patched: set[tuple[str, str]] = set()


def _timed(cause: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        start = time.perf_counter()
        _running.append([0.0])
        try:
            return function(*args, **kwargs)
        finally:
            whole = time.perf_counter() - start
            (inside,) = _running.pop()
            _seconds[cause] += whole - inside
            if _running:
                _running[-1][0] += whole

    return wrapper


def _watch_what_is_imported() -> None:
    for (module, attribute), cause in CAUSES.items():
        if module in sys.modules and (module, attribute) not in _patched:
            owner = sys.modules[module]
            *path, name = attribute.split(".")
            for step in path:
                owner = getattr(owner, step)
            setattr(owner, name, _timed(cause, getattr(owner, name)))
            _patched.add((module, attribute))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """In a worker: note what a test took, for the report of its teardown."""
    _watch_what_is_imported()
    _seconds.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.when == "teardown":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        report.user_properties.append(("costs", json.dumps([os.getpid(), peak, _seconds])))
    return report


class _Ledger:
    """In the process that the user started: adds up what workers report."""

    def __init__(self) -> None:
        self.start = time.time()
        self.by_file: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_test: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.peaks: dict[int, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self.by_file[file]["seconds"] += report.duration
        self.by_test[report.nodeid] += report.duration
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name == "costs":
                pid, peak, seconds = json.loads(value)
                self.by_file[file]["tests"] += 1
                self.by_file[file]["peak"] = max(self.by_file[file]["peak"], peak)
                self.peaks[pid] = max(self.peaks.get(pid, 0), peak)
                self.causes.update(seconds)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write = terminalreporter.write_line
        wall, seconds = time.time() - self.start, sum(self.by_test.values())
        terminalreporter.section("costs")
        write(f"{len(self.by_test):,} tests, {wall:,.0f} s, in workers {seconds:,.0f} s of tests")
        write(f"{count_asserts():,} asserts in tests/ and examples/")
        for pid, peak in sorted(self.peaks.items()):
            write(f"worker {pid}: at most {peak:,} MiB")
        write("\nby cause, s:")
        known = sum(self.causes.values())
        for cause, spent in [*self.causes.most_common(), ("all else", seconds - known)]:
            write(f"{spent:9,.1f}  {cause}")
        write("\nby file: s, tests, MiB of the worker at its end:")
        for file, row in sorted(self.by_file.items(), key=lambda kept: -kept[1]["seconds"])[:SHOWN]:
            write(f"{row['seconds']:9,.1f} {row['tests']:5,} {row['peak']:6,}  {file}")
        write("\nby test, s:")
        for test, spent in self.by_test.most_common(SHOWN):
            write(f"{spent:9,.1f}  {test}")
        if path := os.environ.get("COSTS"):
            Path(path).write_text(json.dumps(self.by_test, indent=1))


def count_asserts() -> int:
    """``assert`` statements, ``pytest.raises`` and numpy's assertions, in all files of tests."""
    files = [*TESTS.rglob("*.py"), *TESTS.parent.glob("examples/**/*.py")]
    return sum(_is_assert(node) for file in files for node in ast.walk(ast.parse(file.read_text())))


def _is_assert(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return name in ("raises", "warns") or name.startswith("assert_")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Ledger(), "ledger of costs")
