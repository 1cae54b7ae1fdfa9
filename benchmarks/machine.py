"""What the numbers were measured on, and what it can do at best."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from frcnn_core.processes import num_cores

CONVOLUTIONS = (
    # batch, height, width, channels, kernel, filters: as they are in a ResNet at 384 x 1248.
    (1, 96, 312, 128, 3, 128),
    (1, 48, 156, 256, 3, 256),
    (1, 24, 78, 1024, 3, 512),
    (1, 96, 312, 512, 1, 512),
    (64, 7, 7, 512, 3, 512),
)
"""Large convolutions, 9 to 18 GFLOP; the fastest is the mark that stages are held against."""


def describe(*libraries: str) -> dict[str, str]:
    """Processor, versions, and whether bfloat16 has instructions of its own.

    Args:
        libraries: distributions whose versions matter besides; those that are not there are left
            out.
    """
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for library in libraries:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    processor, flags = _processor()
    bfloat16 = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in flags]
    return {
        "processor": processor,
        "cores": str(num_cores()),
        "bfloat16": ", ".join(bfloat16) or "no instructions for it known",
        "python": platform.python_version(),
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
        **versions,
    }


def _processor() -> tuple[str, list[str]]:
    """Name and instruction set flags, as far as the system tells."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    flags = fields.get("flags", fields.get("Features", ""))
    return fields.get("model name", platform.processor() or platform.machine()), flags.split()


def peak_memory() -> int:
    """Most bytes of memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def start_up(*arguments: str, runs: int) -> float:
    """Median seconds of ``frcnn`` with these arguments, a process each."""
    program = [sys.executable, "-c", "from frcnn_core.cli import main; main()", *arguments]
    seconds = []
    for _ in range(runs):
        start = perf_counter()
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        seconds.append(perf_counter() - start)
    return median(seconds)


def convolutions(dtype: str) -> dict[str, tuple[Callable[[], object], int]]:
    """Large convolutions by name: ready to run on data of ``dtype``, and their operations."""
    import tensorflow as tf

    found = {}
    for batch, height, width, channels, size, filters in CONVOLUTIONS:
        images = tf.cast(tf.random.normal((batch, height, width, channels)), dtype)
        kernel = tf.cast(tf.random.normal((size, size, channels, filters)), dtype)
        convolve = tf.function(partial(tf.nn.conv2d, strides=1, padding="SAME"))
        operations = 2 * batch * height * width * size**2 * channels * filters
        name = f"{size}x{size} {channels}->{filters} on {batch}x{height}x{width}"
        found[name] = partial(convolve, images, kernel), operations
    return found
