"""What an export takes: seconds and memory of ``frcnn export`` as a user types it.

    python -m benchmarks.export_cost

The command runs in a process of its own, so its time has the start of Python and TensorFlow in it,
and its peak memory is that of nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import click

from benchmarks import machine, report
from benchmarks.cases import Case
from benchmarks.processes import alone
from frcnn_core.files import write_whole

FULL = Case("resnet:50", 384, 1248, 1, training=False)
QUICK = Case("resnet:10", 64, 64, 1, training=False)

MOST_SECONDS = 60.0
MOST_MEMORY = 4 * 2**30
"""Bytes."""


@dataclass(frozen=True)
class Cost:
    """What one export took."""

    format: str
    case: Case
    seconds: float
    peak_memory: int
    """Bytes that its process held at most."""
    file_size: int
    """Bytes of what was written; 0 where it failed."""
    failed: str = ""
    """The end of what it said, where it ended with an error."""

    @property
    def within(self) -> bool:
        """Whether it worked and took no more than it may."""
        in_time = self.seconds <= MOST_SECONDS and self.peak_memory <= MOST_MEMORY
        return not self.failed and in_time


def cost(format: str, case: Case, model: Path, output: Path) -> Cost:
    """Export a model file.

    Args:
        format: name of an exporter.
        case: what the model was made for.
        output: what to write; does not exist.
    """
    program = [sys.executable, "-c", "from frcnn_core.cli import main; main()"]
    given = ["export", format, "-m", str(model), "-o", str(output)]
    said = output.with_name(f"{output.name}.log")
    start = perf_counter()
    with said.open("wb") as log:
        status, peak_memory = _run([*program, *given], log.fileno())
    seconds = perf_counter() - start
    failed = "" if status == 0 else "\n".join(said.read_text(errors="replace").splitlines()[-5:])
    written = [path for path in (output, *output.rglob("*")) if path.is_file()]
    return Cost(
        format,
        case,
        seconds,
        peak_memory,
        file_size=sum(path.stat().st_size for path in written),
        failed=failed or ("" if written else "It wrote nothing."),
    )


def _run(program: list[str], log: int) -> tuple[int, int]:
    """A program's exit code and the most bytes that it held, of this one child alone.

    Args:
        log: file descriptor that it writes to.
    """
    to_log = [(os.POSIX_SPAWN_DUP2, log, number) for number in (1, 2)]
    child = os.posix_spawn(program[0], program, os.environ, file_actions=to_log)
    _, status, usage = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit


def save(case: Case, path: Path) -> None:
    """Write a model file of a case, with fresh weights.  For a process of its own."""
    from frcnn_core import assemble
    from frcnn_core.model_files import archive
    from frcnn_core.plugin import installed

    model = assemble.new_model(case.spec(path.parent), installed())
    archive.write(path, model.to_archive())


@click.command()
@click.option("--quick", is_flag=True, help="A small network: that it all runs.")
@click.option("--arch", default=FULL.arch, show_default=True, help="The network.")
@click.option(
    "--format", "formats", multiple=True, default=["onnx"], show_default=True, metavar="FORMAT"
)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(quick: bool, arch: str, formats: tuple[str, ...], output: Path | None) -> None:
    """Measure what `frcnn export FORMAT` of a network takes."""
    case = QUICK if quick else Case(arch, FULL.height, FULL.width, 1, training=False)
    facts = machine.describe()
    with TemporaryDirectory() as folder:
        model = Path(folder, "model.tlt")
        alone(save, case, model)
        costs = [cost(name, case, model, Path(folder, f"exported.{name}")) for name in formats]
    report.wide_console().print(table(costs))
    for found in costs:
        if found.failed:
            click.echo(f"{found.format} failed:\n{found.failed}", err=True)
    if output:
        found = {"machine": facts, "costs": [asdict(one) for one in costs]}
        write_whole(output, json.dumps(found, indent=2) + "\n")
    if any(found.failed for found in costs):
        raise SystemExit(1)


def table(costs: list[Cost]):
    """Seconds and memory of each export beside what it may take."""
    title = f"Exports, at most {MOST_SECONDS:.0f} s and {MOST_MEMORY / 2**30:.0f} GiB"
    found = report.empty_table(
        title, ["network", "format"], ["seconds", "peak GiB", "written, MiB", "within"]
    )
    for one in costs:
        found.add_row(
            f"{one.case.arch} {one.case.height}x{one.case.width}",
            one.format,
            f"{one.seconds:.1f}",
            f"{one.peak_memory / 2**30:.2f}",
            f"{one.file_size / 2**20:.1f}",
            "yes" if one.within else "no",
        )
    return found


if __name__ == "__main__":
    main()
