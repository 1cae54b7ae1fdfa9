"""How many cores of the CPU this process may use."""

from __future__ import annotations

import os


def num_cores() -> int:
    """At least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
