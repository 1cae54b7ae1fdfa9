"""What the tables say, with round numbers."""

import io

from rich.console import Console

from benchmarks.cases import Case
from benchmarks.report import Measurement, as_dict, tables


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
    console = Console(file=io.StringIO(), width=160)
    for table in tables(measurements):
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
