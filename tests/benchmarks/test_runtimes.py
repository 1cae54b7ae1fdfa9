"""What is made of the times of runtimes, with round numbers, and that they take turns."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.cases import Case
from benchmarks.runtimes import TENSORFLOW, Comparison, Latency, Program, in_turns, main

COMPARED = Comparison(
    Case("resnet:18", 256, 320, 1, training=False),
    (
        Latency(Program(TENSORFLOW), (0.3, 0.2, 0.2), 0),
        Latency(Program("onnx"), (0.1, 0.1, 0.4), 2**20),
        Latency(Program("onnx", "int8"), (0.05, 0.05, 0.05), 2**18),
        Latency(Program("tflite", "int8"), (0.4, 0.4, 0.4), 2**18),
    ),
    {"tflite fp32": "tflite needs nothing."},
)


def test_a_program_is_compared_with_tensorflow_by_medians():
    # 200 ms against 200, 100, 50 and 400.
    times = [COMPARED.times(latency) for latency in COMPARED.latencies]
    assert times == pytest.approx([1.0, 2.0, 4.0, 0.5])


def test_the_gain_of_int8_is_over_float_of_the_same_format():
    gains = [COMPARED.gain_of_int8(latency) for latency in COMPARED.latencies]
    assert gains == [None, None, pytest.approx(2.0), None]  # float tflite did not run


def test_every_round_has_a_turn_of_every_action_and_the_first_does_not_count():
    calls, now = [], [0.0]

    def action(name: str, seconds: float):
        def run() -> None:
            calls.append(name)
            now[0] += seconds

        return run

    actions = {"a": action("a", 1.0), "b": action("b", 3.0)}
    found = in_turns(actions, 2, clock=lambda: now[0], rest=0.0)
    assert calls == ["a", "a", "b", "b"] * 3
    assert found == {"a": [1.0, 1.0], "b": [3.0, 3.0]}


def test_a_text_in_no_program_is_an_error_that_lists_them():
    result = CliRunner().invoke(main, ["--only", "abacus"])
    assert result.exit_code == 2
    assert "onnx int8" in result.output


@pytest.mark.slow
def test_a_text_in_no_case_is_an_error_that_lists_them():
    result = CliRunner().invoke(main, ["--case", "640x640"])
    assert result.exit_code == 2
    assert "resnet:18 384x1248 batch 4 inference" in result.output


@pytest.mark.conformance
def test_the_quick_benchmark_times_onnx_beside_tensorflow(tmp_path):
    output = tmp_path / "numbers.json"
    arguments = ["--quick", "--only", "onnx fp32", "--json", str(output)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (compared,) = json.loads(output.read_text())["comparisons"]
    if compared["left_out"]:
        pytest.skip(str(compared["left_out"]))
    tensorflow, onnx = compared["latencies"]
    assert tensorflow["program"]["format"] == "tensorflow"
    assert len(onnx["seconds"]) == 1
    assert onnx["file_size"] > 2**20
    assert onnx["times"] == pytest.approx(tensorflow["median"] / onnx["median"])
