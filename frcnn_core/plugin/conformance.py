"""Runs the contract of a component outside of anybody's test run, and tells how each check went.

The contracts of ``frcnn_core.testing`` are pytest's, so pytest runs them: in this process, and
apart from the user's own settings, plugins and caches of pytest.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

REASON_LINES, REASON_WIDTH = 6, 200

_ASIDE = re.compile(r" *(\+ +(where|and) |At index |Use -v )")  # pytest's, on an assert
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Keras has them in its messages


@dataclass(frozen=True)
class Check:
    """One test of a contract, for one variant."""

    sentence: str
    """E.g. ``grayscale images are accepted``."""
    variant: str = ""
    """Empty where the check is about the component as a whole."""


Result = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a check went."""

    check: Check
    result: Result
    reason: str = ""
    """Of what was skipped or failed; a few lines."""


def run(
    suite: Callable[[], type],
    *,
    started: Callable[[Check], None],
    finished: Callable[[Outcome], None],
) -> Counter[str]:
    """Run all checks of a suite.

    Args:
        suite: makes the class of tests, as ``frcnn_core.testing.suites.suite``.  It is called
            when pytest is ready, and should import ``frcnn_core.testing`` only then: so a failed
            ``assert`` can tell the values it compared.
        started: told of each check before it runs.
        finished: told of each check after it ran.

    Returns:
        How many checks had each result.
    """
    plugin = _Plugin(suite, started, finished)
    with _own_environment(), tempfile.TemporaryDirectory() as folder:
        file, settings = Path(folder, "contract.py"), Path(folder, "pytest.ini")
        file.touch()
        settings.write_text("[pytest]\n")
        words = [str(file), "-c", str(settings), "--rootdir", folder, "--noconftest"]
        words += ["--basetemp", str(Path(folder, "tmp")), "--import-mode=importlib"]
        words += ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:warnings"]
        code = pytest.main(words, plugins=[plugin])
    if plugin.error:
        raise plugin.error
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest did not run the checks: {code!r}")
    return plugin.counts


class _Plugin:
    """Gives pytest the suite, and listens."""

    def __init__(
        self,
        suite: Callable[[], type],
        started: Callable[[Check], None],
        finished: Callable[[Outcome], None],
    ):
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._suite = suite
        self._started = started
        self._finished = finished
        self._contract: type = object
        self._home = Path()
        self._checks: dict[str, Check] = {}
        self._outcomes: dict[str, tuple[Result, str]] = {}

    def pytest_sessionstart(self) -> None:
        self._contract = self._suite()
        self._home = _home(type(self._contract().component))

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module:
        module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = types.ModuleType("contract")
        module.obj.TestContract = self._contract  # what pytest looks for begins with Test
        return module

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        self._checks = {item.nodeid: _check(item) for item in items}
        variants = list(dict.fromkeys(check.variant for check in self._checks.values()))
        variants.sort(key=bool)  # what is about no variant comes first
        items.sort(key=lambda item: variants.index(self._checks[item.nodeid].variant))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._started(self._checks[nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        error = call.excinfo
        if report.failed:
            reason = _reason(error, self._home) if error else report.longreprtext
            self._outcomes[item.nodeid] = "failed", reason
        elif report.skipped:
            self._outcomes[item.nodeid] = "skipped", str(error.value) if error else ""
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome: tuple[Result, str] = self._outcomes.get(nodeid, ("ok", ""))
        result, reason = outcome
        self.counts[result] += 1
        self._finished(Outcome(self._checks[nodeid], result, reason))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo) -> bool:
        self.error = excinfo.value
        return True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = self.error or RuntimeError(report.longreprtext)


def _check(item: pytest.Function) -> Check:
    """``test_the_head_halves_rois[18-True]`` in words."""
    given: dict[str, Any] = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    variant = given.pop("variant", "")
    sentence = item.originalname.removeprefix("test_").replace("_", " ")
    if given:
        sentence += f" ({', '.join(f'{name} {value}' for name, value in given.items())})"
    return Check(sentence, variant)


def _reason(excinfo: pytest.ExceptionInfo, home: Path) -> str:
    """The error in a few lines, and where in the plugin it was, if it was there."""
    message = _COLOURS.sub("", excinfo.exconly().removeprefix("AssertionError:"))
    lines = [line.rstrip()[:REASON_WIDTH] for line in message.splitlines() if line.strip()]
    lines = [line for line in lines if not _ASIDE.match(line)]
    reason = "\n".join([*lines[:REASON_LINES], *(["..."] if len(lines) > REASON_LINES else [])])
    inside = [one for one in excinfo.traceback if home in (Path(one.path), *Path(one.path).parents)]
    if inside:
        reason += f"\nat {inside[-1].path}, line {inside[-1].lineno + 1}, in {inside[-1].name}"
    return reason.strip()


def _home(component: type) -> Path:
    """The file or folder of the plugin that a class is from."""
    module = sys.modules[component.__module__]
    file = Path(str(module.__file__))
    return file.parent if module.__package__ else file


@contextmanager
def _own_environment() -> Iterator[None]:
    """Without what the user set for pytest, and without pytest's third-party plugins."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PYTEST_")}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update(before)
