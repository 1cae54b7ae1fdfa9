"""Starts the programs that tests run in several processes, with real Horovod."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

needs_horovod = pytest.mark.skipif(
    find_spec("horovod") is None, reason="Horovod is not installed: `make horovod` builds it"
)

HOROVODRUN = (
    sys.executable,
    "-c",
    "from horovod.runner import launch; launch.gloo_built = lambda **_: True;"
    "launch.run_commandline()",
)
"""``horovodrun`` that does not look whether Horovod has Gloo, for which it imports TensorFlow."""


def horovodrun(program: str, *arguments: object, count: int = 2) -> subprocess.CompletedProcess:
    """Run a program of this folder in ``count`` processes, to their end, within five minutes."""
    command = [*HOROVODRUN, "-np", count, "--gloo"]
    command += [sys.executable, TESTS / program, *arguments]
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": str(TESTS), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
