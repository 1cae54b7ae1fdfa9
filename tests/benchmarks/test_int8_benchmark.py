"""What is made of accuracies and times in int8, with round numbers."""

import importlib.util
import json

import pytest
from click.testing import CliRunner

from benchmarks.int8 import FLOAT, Quantized, main, table

ROWS = [
    Quantized("resnet:18", "a.tlt", FLOAT, 0.75, 0.2),
    Quantized("resnet:18", "a.tlt", "entropy", 0.5, 0.1),
    Quantized("resnet:18", "b.tlt", FLOAT, 0.625, 0.3),
    Quantized("resnet:18", "b.tlt", "trained", 0.75, 0.1),
]


def test_int8_is_compared_with_float_of_the_same_model():
    assert [row.loss(ROWS) for row in ROWS] == [0.0, 0.25, 0.0, -0.125]
    assert [row.gain(ROWS) for row in ROWS] == pytest.approx([1.0, 2.0, 1.0, 3.0])


def test_the_table_has_a_row_for_each_and_no_loss_of_float_over_itself():
    cells = [list(column.cells) for column in table(ROWS, "onnx").columns]
    assert cells[1] == [FLOAT, "entropy", FLOAT, "trained"]
    assert cells[3] == ["", "0.2500", "", "-0.1250"]
    assert cells[5] == ["", "2.00", "", "3.00"]


@pytest.mark.slow
def test_models_and_their_spec_are_asked_for():
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "MODELS -e SPEC" in result.output


@pytest.mark.conformance
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnxruntime")),
    reason="no ONNX",
)
def test_the_quick_benchmark_scores_float_and_int8(tmp_path):
    output = tmp_path / "numbers.json"
    arguments = ["--quick", "--range_finder", "minmax", "--json", str(output)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    in_float, in_int8 = json.loads(output.read_text())["rows"]
    assert [in_float["ranges"], in_int8["ranges"]] == [FLOAT, "minmax"]
    assert in_float["loss"] == 0 and in_float["gain"] == 1
    assert in_int8["seconds"] > 0
