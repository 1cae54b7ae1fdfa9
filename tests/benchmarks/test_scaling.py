"""What is made of the times of one process and of several, with round numbers."""

import io
import os

import pytest
from rich.console import Console

from benchmarks.cases import Case, Layout
from benchmarks.report import scaling_tables
from benchmarks.scaling import (
    COMPRESSED,
    COMPRESSED_EXCHANGE,
    EXCHANGE,
    STEP,
    WITHOUT,
    Scaling,
    as_dict,
)
from benchmarks.scaling_worker import take_cores

ONE, THREADS, PROCESSES = Layout(1, 1), Layout(1, 2), Layout(2, 1)
FOUND = Scaling(
    Case("resnet:10", 160, 160, 4, training=True),
    {
        ONE: {STEP: 2.0},
        THREADS: {STEP: 1.25},
        PROCESSES: {
            STEP: 2.5,
            WITHOUT: 2.0,
            COMPRESSED: 2.25,
            EXCHANGE: 0.4,
            COMPRESSED_EXCHANGE: 0.2,
        },
    },
    gradient_bytes=20 * 2**20,
)


def test_two_processes_take_twice_the_images_of_one():
    # 4 images in 2 s; 4 in 1.25 s; 8 in 2.5 s.
    rates = [FOUND.images_per_second(layout) for layout in (ONE, THREADS, PROCESSES)]
    assert rates == pytest.approx([2.0, 3.2, 3.2])


def test_the_share_of_the_exchange_is_what_a_step_takes_longer_for_it():
    assert FOUND.share(PROCESSES) == pytest.approx(0.5 / 2.5)
    assert FOUND.share(PROCESSES, COMPRESSED) == pytest.approx(0.25 / 2.25)
    assert as_dict(FOUND)["layouts"][2]["share"] == pytest.approx({STEP: 0.2, COMPRESSED: 1 / 9})


def test_the_tables_show_throughput_as_ratios_and_the_exchange_as_a_share():
    console = Console(file=io.StringIO(), width=160)
    for table in scaling_tables(FOUND):
        console.print(table)
    text = console.file.getvalue()
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in text.splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["1", "1", "2000", "2.00", "1.00"],
        ["1", "2", "1250", "3.20", "1.60"],
        ["2", "1", "2500", "3.20", "1.60"],
        ["not at all", "2000", "", ""],
        ["float32", "2500", "0.200", "400"],
        ["float16", "2250", "0.111", "200"],
    ]
    assert "2 processes of 1 thread, 20.0 MiB of gradients" in " ".join(text.split())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no such thing")
def test_a_process_whose_cores_are_not_there_ends():
    with pytest.raises(SystemExit, match="no cores left"):
        take_cores(len(os.sched_getaffinity(0)), 1)
