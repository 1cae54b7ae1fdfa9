"""A training step in one process and in several, and the share that their exchange has in it.

Each process has cores of its own and as many threads as cores, so that two processes of one thread
can be held against one process of two.  ``benchmarks.scaling_worker`` is what runs in each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click

from benchmarks.cases import Case, Layout, ScalingCases
from frcnn_core.processes import num_cores

STEP = "step"
"""What every layout is timed by: the trainer's step on one batch over and over."""
WITHOUT = "without exchange"
"""The same step where each process goes on with its own gradients."""
COMPRESSED = "16 bits"
"""The same step with gradients sent in 16 bits."""
EXCHANGE, COMPRESSED_EXCHANGE = "exchange alone", "16-bit exchange alone"
"""The exchange of tensors of the gradients' sizes, and nothing else."""


@dataclass(frozen=True)
class Scaling:
    """What was found; times are medians in seconds, each run's that of its slowest process."""

    case: Case
    seconds: dict[Layout, dict[str, float]]
    """By layout and program: ``STEP``, and where there are several processes the others."""
    gradient_bytes: int
    """What a process sends as float32; in 16 bits about half of it."""

    def images_per_second(self, layout: Layout) -> float:
        """Of all processes together, each with a batch of its own."""
        return layout.processes * self.case.batch_size / self.seconds[layout][STEP]

    def share(self, layout: Layout, program: str = STEP) -> float:
        """What a step takes longer for its exchange, as a fraction of it."""
        found = self.seconds[layout]
        return (found[program] - found[WITHOUT]) / found[program]


def can_run() -> bool:
    """Whether there is Horovod, which starts and connects the processes."""
    return find_spec("horovod") is not None


def scaling(cases: ScalingCases, pictures: Path, *, runs: int) -> Scaling:
    """Run every layout that there are cores for, one after the other, several times over.

    Args:
        pictures: as written by ``benchmarks.cases.draw``.
        runs: how often each thing is timed each time.

    Raises:
        click.ClickException: a process failed; with the end of its output.
    """
    layouts = [layout for layout in cases.layouts if layout.cores <= num_cores()]
    seconds: dict[Layout, dict[str, list[float]]] = {
        layout: defaultdict(list) for layout in layouts
    }
    gradient_bytes = 0
    for _ in range(cases.rounds):
        for layout in layouts:
            found = _launch(cases.case, layout, pictures, runs)
            gradient_bytes = found["gradient_bytes"]
            for program, values in found["seconds"].items():
                seconds[layout][program] += values
    medians = {
        layout: {program: median(values) for program, values in programs.items()}
        for layout, programs in seconds.items()
    }
    return Scaling(cases.case, medians, gradient_bytes)


def as_dict(found: Scaling) -> dict:
    """Everything, ready for JSON."""
    rows = []
    for layout, seconds in found.seconds.items():
        row = {**asdict(layout), "seconds": seconds, "rate": found.images_per_second(layout)}
        if layout.processes > 1:
            row["share"] = {name: found.share(layout, name) for name in (STEP, COMPRESSED)}
        rows.append(row)
    return {"case": asdict(found.case), "gradient_bytes": found.gradient_bytes, "layouts": rows}


def _launch(case: Case, layout: Layout, pictures: Path, runs: int) -> dict:
    """What the processes of a layout found."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "found.json")
        given = {
            "case": asdict(case),
            "pictures": str(pictures),
            "runs": runs,
            "threads": layout.threads,
            "output": str(output),
        }
        program = [sys.executable, "-m", "benchmarks.scaling_worker", json.dumps(given)]
        if layout.processes > 1:
            horovodrun = Path(sys.executable).with_name("horovodrun")
            program = [str(horovodrun), "-np", str(layout.processes), "--gloo", *program]
        done = subprocess.run(
            program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        if done.returncode:
            end = "\n".join(done.stdout.splitlines()[-30:])
            raise click.ClickException(f"{layout} ended with {done.returncode}:\n{end}")
        return json.loads(output.read_text())
