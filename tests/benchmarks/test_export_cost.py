"""What an export took, of the process that did it and of no other."""

import json
import sys

import pytest
from click.testing import CliRunner

from benchmarks.cases import Case
from benchmarks.export_cost import MOST_MEMORY, MOST_SECONDS, Cost, _run, main

CASE = Case("resnet:50", 384, 1248, 1, training=False)


@pytest.mark.parametrize(
    "seconds, peak_memory, failed, within",
    [
        (MOST_SECONDS, MOST_MEMORY, "", True),
        (MOST_SECONDS + 0.1, MOST_MEMORY, "", False),
        (MOST_SECONDS, MOST_MEMORY + 1, "", False),
        (1.0, 1, "Error: no such model", False),
    ],
)
def test_an_export_has_to_work_in_time_and_within_its_memory(seconds, peak_memory, failed, within):
    assert Cost("onnx", CASE, seconds, peak_memory, 1, failed).within == within


@pytest.mark.slow
def test_the_memory_is_that_of_one_child(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        hold = "print(len(bytearray({} * 2**20)))"
        large = _run([sys.executable, "-c", hold.format(300)], log.fileno())
        small = _run([sys.executable, "-c", hold.format(1)], log.fileno())
    assert large[0] == small[0] == 0
    # A process begins with what the one that starts it holds, so the large one is the one to see.
    assert large[1] >= 300 * 2**20
    assert small[1] <= large[1]
    assert (tmp_path / "log").read_text().split() == [str(300 * 2**20), str(2**20)]


@pytest.mark.slow
def test_an_exit_code_is_told(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        assert _run([sys.executable, "-c", "raise SystemExit(2)"], log.fileno())[0] == 2


@pytest.mark.conformance
def test_the_quick_benchmark_exports_and_an_unknown_format_is_told(tmp_path):
    output = tmp_path / "numbers.json"
    formats = ["--format", "saved_model", "--format", "abacus"]
    result = CliRunner().invoke(main, ["--quick", *formats, "--json", str(output)])
    assert result.exit_code == 1  # one of the two failed
    assert "no exporter is called 'abacus'" in result.output
    good, bad = json.loads(output.read_text())["costs"]
    assert good["failed"] == "" and good["file_size"] > 2**20
    assert good["seconds"] > 0 and good["peak_memory"] > 100 * 2**20
    assert bad["file_size"] == 0
