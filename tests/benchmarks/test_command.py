"""The command as a user types it; no test depends on what it measures."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import scaling
from benchmarks.command import main
from frcnn_core.processes.cores import num_cores


@pytest.mark.slow
def test_a_text_in_no_title_is_an_error_that_lists_the_cases():
    result = CliRunner().invoke(main, ["--only", "vgg"])
    assert result.exit_code == 2
    assert "resnet:50 384x1248 batch 1 training --use_amp" in result.output
    assert "input pipeline" in result.output
    assert "scaling" in result.output


@pytest.mark.conformance
def test_the_quick_benchmark_measures_every_stage_of_a_detection(tmp_path):
    output = tmp_path / "numbers.json"
    arguments = ["--quick", "--runs", "1", "--only", "inference", "--json", str(output)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (case,) = json.loads(output.read_text())["cases"]
    assert list(case["stages"]) == ["data", "features", "RPN", "proposals", "RoI head"]
    assert list(case["work"]) == ["features", "RPN", "RoI head"]
    assert case["peak_memory"] > 100 * 2**20


@pytest.mark.conformance
def test_the_quick_benchmark_measures_the_input_pipeline_and_large_sets(tmp_path):
    output = tmp_path / "numbers.json"
    arguments = ["--quick", "--runs", "1", "--only", "input pipeline", "--json", str(output)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    numbers = json.loads(output.read_text())
    assert "cases" not in numbers
    speed, scale = (numbers["input pipeline"][name] for name in ("speed", "scale"))
    assert list(speed["by_threads"]) == ["1", "2"]
    assert [found["num_records"] for found in scale] == [100, 1000]
    for found in scale:
        assert found["peak_memory"] >= found["memory_before"] > 100 * 2**20


@pytest.mark.conformance
@pytest.mark.skipif(not scaling.can_run(), reason="no Horovod: make horovod")
@pytest.mark.skipif(num_cores() < 2, reason="two processes take two cores")
def test_the_quick_benchmark_compares_one_process_and_two(tmp_path):
    output = tmp_path / "numbers.json"
    arguments = ["--quick", "--runs", "1", "--only", "scaling", "--json", str(output)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(output.read_text())["scaling"]
    alone, threads, processes = found["layouts"]
    assert [(row["processes"], row["threads"]) for row in found["layouts"]] == [
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    assert list(alone["seconds"]) == list(threads["seconds"]) == [scaling.STEP]
    assert set(processes["share"]) == {scaling.STEP, scaling.COMPRESSED}
    assert processes["seconds"].keys() > {scaling.EXCHANGE, scaling.COMPRESSED_EXCHANGE}
    assert all(seconds > 0 for seconds in processes["seconds"].values())
