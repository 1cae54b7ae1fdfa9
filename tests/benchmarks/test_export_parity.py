"""Which networks are compared, and that a whole detector in ONNX is the same as TensorFlow's."""

import importlib.util
import json
import os
import re
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.export_parity import ARCHS, SPREAD, main, networks, spread
from frcnn_core.structures import Batch
from frcnn_core.testing.exporter import small_model

REPRODUCE = Path(__file__).parents[2] / "examples" / "export" / "reproduce.sh"


def test_the_example_trains_every_network_that_is_compared():
    listed = REPRODUCE.read_text().split("set -- \\\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"[\w:]+", listed)) == sorted(ARCHS)
    assert len(set(ARCHS)) == 14


def test_a_folder_gives_the_newest_model_of_each_folder_in_it(tmp_path):
    for number, name in enumerate(["a/1.tlt", "a/2.tlt", "b/1.tlt"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (number, number))
    found = list(networks([tmp_path], ARCHS))
    assert found == [str(tmp_path / "a/2.tlt"), str(tmp_path / "b/1.tlt")]


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(click.BadParameter, match=r"no model file \(\*\.tlt\)"):
        list(networks([tmp_path], ARCHS))


@pytest.mark.slow
def test_fresh_weights_get_logits_that_differ():
    detector = small_model().detector
    images = np.random.default_rng(0).standard_normal((1, 128, 192, 3), "float32")
    spread(detector, Batch(images, *[None] * 6))
    logits = detector.rpn(detector.features(images, training=False), training=False)[0]
    assert np.std(logits) == pytest.approx(SPREAD, rel=1e-3)


@pytest.mark.conformance
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnxruntime")),
    reason="no ONNX",
)
def test_the_quick_benchmark_finds_no_difference(tmp_path):
    output = tmp_path / "numbers.json"
    result = CliRunner().invoke(main, ["--quick", "--json", str(output)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (parity,) = json.loads(output.read_text())["parities"]
    assert parity["problems"] == []
    assert parity["num_pairs"] > 0
    assert parity["box"] < 0.05 and parity["score"] < 1e-3
    assert parity["num_lost"] == parity["num_gained"] == 0
