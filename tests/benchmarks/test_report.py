"""What the tables say, with round numbers."""

import io

import pytest
from rich.console import Console

from benchmarks.cases import Case
from benchmarks.input_pipeline import Scale, Speed
from benchmarks.report import Measurement, as_dict, data_tables, tables


def measurement(*, use_amp: bool, step: float) -> Measurement:
    """30 GFLOP in ``step`` seconds beside a convolution that reaches 100 GFLOP/s."""
    return Measurement(
        case=Case("resnet:10", 160, 160, 2, training=True, use_amp=use_amp),
        dtype="bfloat16" if use_amp else "float32",
        stages={"data": 0.01, "features": 0.125, "update": step - 0.125},
        work={"features": 10 * 10**9, "backward": 20 * 10**9},
        step=step,
        best_rate=100e9,
        pipeline=50.0,
        peak_memory=3 * 2**30,
    )


def printed(*measurements: Measurement) -> str:
    return text_of(tables(measurements))


def text_of(found) -> str:
    console = Console(file=io.StringIO(), width=160)
    for table in found:
        console.print(table)
    return console.file.getvalue()


def test_a_step_of_0_4_s_is_75_gflop_per_second_and_three_quarters_of_the_best():
    found = as_dict(measurement(use_amp=False, step=0.4))
    assert (found["rate"], found["share"]) == (75e9, 0.75)


def test_a_stage_shows_its_time_and_its_share_of_the_best_rate():
    text = printed(measurement(use_amp=False, step=0.4))
    # 10 GFLOP would do in 100 ms and take 125; the whole step 300 of 400.
    assert "125.0 (0.80)" in text
    assert "400.0 (0.75)" in text
    assert "275.0 │" in text  # no arithmetic is counted for the update


def test_the_gain_of_mixed_precision_is_the_ratio_of_the_steps():
    text = printed(measurement(use_amp=False, step=0.4), measurement(use_amp=True, step=0.25))
    assert text.count("1.60x") == 1


@pytest.mark.slow
def test_the_pipeline_is_held_against_what_training_asks_for():
    case = Case("resnet:10", 160, 160, 2, training=True)
    speed = Speed(case, by_threads={1: 40.0, 2: 70.0}, demand=20.0)
    scale = Scale(100_000, 4.5, 0.5, 0.75, memory_before=2**29, peak_memory=2**30)
    text = text_of(data_tables(speed, [scale]))
    one, two, large = (
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in text.splitlines()
        if line.startswith("│")
    )
    assert one == ["1", "40", "20.0", "2.0"]
    assert two == ["2", "70", "20.0", "3.5"]
    assert large == ["100,000", "4.50", "0.50", "0.75", "512", "1024"]
