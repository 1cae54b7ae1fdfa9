"""Which layer goes where, by hand; and real trainings on two devices, which are parts of a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import placed_trainings
import pytest
import toy

from frcnn_core import assemble
from frcnn_core.detector import placement
from frcnn_core.errors import SpecError
from frcnn_core.spec.load import loads


@pytest.mark.parametrize(
    ("num_layers", "fractions", "counts"),
    [
        (100, (0.5, 0.5), [50, 50]),  # the documentation's example
        (100, (0.3, 0.7), [30, 70]),
        (100, (30, 70), [30, 70]),
        (10, (1, 1, 1), [3, 4, 3]),  # 3.33 and 6.67 are rounded to 3 and 7
        (5, (1, 1), [2, 3]),  # 2.5 is rounded to the even number
        (7, (1, 1), [4, 3]),  # and so is 3.5
        (4, (2,), [4]),
    ],
)
def test_layers_are_split_at_the_rounded_fractions(num_layers, fractions, counts):
    found = placement.split(num_layers, fractions)
    assert [found.count(device) for device in range(len(fractions))] == counts
    assert found == sorted(found)


def test_a_device_without_layers_is_an_error_that_names_the_fractions():
    with pytest.raises(SpecError, match=r"model_parallelism: 0\.01, 0\.99 divide 25 .* 0, 25\."):
        placement.split(25, (0.01, 0.99))


def test_the_layers_of_a_detector_are_in_the_order_that_data_flows():
    found = placement.assign(toy.detector().parts, (0.3, 0.7), ("a", "b"))
    # 25 layers; 7.5 is rounded to 8.
    assert [path for path, device in found.items() if device == "a"] == [
        f"features/conv{block}{kind}" for block in (0, 1) for kind in ("_pad", "", "_bn", "_act")
    ]
    assert {path.partition("/")[0] for path in list(found)[16:19]} == {"rpn"}
    assert list(found)[19:22] == ["head/head_conv", "head/head_conv_bn", "head/head_conv_act"]
    assert set(list(found)[23:]) == {"head/dense_class", "head/dense_regress"}
    assert len(found) == 25


def test_every_layer_but_the_inputs_has_one_device():
    parts = toy.detector(freeze_blocks=frozenset({1})).parts
    layers = {
        f"{name}/{layer.name}"
        for name, part in parts.items()
        for layer in part.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }
    assert placement.assign(parts, (1, 2, 3), ("a", "b", "c")).keys() == layers


def test_layers_of_a_model_in_the_model_count_one_by_one():
    inner_input = keras.Input((4,))
    x = keras.layers.Dense(4, name="first")(inner_input)
    inner = keras.Model(inner_input, keras.layers.Dense(4, name="second")(x), name="inner")
    outer_input = keras.Input((4,))
    outer = keras.Model(outer_input, keras.layers.ReLU(name="last")(inner(outer_input)))
    found = placement.assign({"features": outer}, (1, 2), ("a", "b"))
    assert found == {
        "features/inner/first": "a",
        "features/inner/second": "b",
        "features/last": "b",
    }


@pytest.mark.slow
def test_a_placed_detector_is_a_copy_with_the_same_names_and_values():
    model = toy.model(freeze_blocks=frozenset({1}), kernel_regularizer=keras.regularizers.L2(0.1))
    before = model.to_archive()
    detector = model.detector
    devices = placement.assign(detector.parts, (1, 1), ("CPU:0", "CPU:0"))
    model.detector = placement.place(detector, devices)
    after = model.to_archive()
    assert after.parts == before.parts
    assert list(after.weights) == list(before.weights)
    assert all((after.weights[name] == value).all() for name, value in before.weights.items())
    assert not {id(v) for v in detector.trainable_variables} & {
        id(v) for v in model.detector.trainable_variables
    }


@pytest.mark.slow
def test_a_model_in_the_model_is_placed_with_its_weights():
    detector = toy.detector()
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3, 1, name="outer_conv")(images)
    detector.features = keras.Model(images, detector.features(x), name="features")
    devices = placement.assign(detector.parts, (1, 3), ("CPU:0", "CPU:0"))
    assert "features/features/conv0" in devices
    placed = placement.place(detector, devices)
    for before, after in zip(detector.features.weights, placed.features.weights, strict=True):
        assert (before.numpy() == after.numpy()).all()


def assembled(folder: Path, fractions: str, **given):
    toy.write_scenes(folder, "train", 2, seed=0)
    spec = loads(toy.spec_text(folder, training=f"model_parallelism: {fractions}"))
    return assemble.training(spec, toy.plugins(), results_dir=folder / "results", **given)


@pytest.mark.slow
def test_as_many_devices_are_needed_as_there_are_fractions(tmp_path):
    with pytest.raises(SpecError, match=r"2 fractions .* Type --gpus 2 --num_processes 1"):
        assembled(tmp_path, "[0.3, 0.7]")


@pytest.mark.slow
def test_one_fraction_is_one_device(tmp_path):
    assert not assembled(tmp_path, "[1.0]").trainer.model.detector.devices


# --- on two devices


def run(*command: object, path: Path, **given) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(path), "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What ``placed_trainings`` found."""
    folder = tmp_path_factory.mktemp("placed")
    script = Path(placed_trainings.__file__)
    done = run(script, folder, path=script.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "report.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("case", placed_trainings.CASES)
def test_a_training_on_two_devices_is_that_on_one(report, case):
    found = report["cases"][case]
    assert found["steps"] == 3
    assert found["moved"] > 1e-3
    assert found["same parts"]
    gaps = found["gaps"]
    detections = gaps.pop("detections")  # in pixels
    if found["exact"]:
        assert max(*gaps.values(), detections) == 0.0
    else:
        assert max(gaps.values()) < 1e-6
        assert detections < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case", placed_trainings.CASES)
def test_variables_are_on_the_device_of_their_layer_the_optimizers_too(report, case):
    found = report["cases"][case]
    assert found["layers"].keys() == {"CPU:0", "CPU:1"}
    assert found["astray"] == []


@pytest.mark.slow
def test_forward_and_backward_operations_are_on_the_device_of_their_layer(report):
    found = report["operations"]
    # conv0 and conv1 are on the first device; conv2, conv3, the RPN's three and the head's are not.
    assert found["convolutions"] == {"CPU:0": 2, "CPU:1": 6}
    assert found["normalizations"] == {"CPU:0": 2, "CPU:1": 3}
    assert found["their gradients"] == {"CPU:0": 2, "CPU:1": 3}
    # Those of the RPN and the head are products, tap by tap of the kernel.
    assert found["filter gradients"] == {"CPU:0": 2, "CPU:1": 2}
    assert found["products of the backward pass"].keys() == {"CPU:1"}


@pytest.mark.slow
def test_pooling_and_suppression_are_on_the_device_of_the_head(report):
    assert report["operations"]["crops"] == {"CPU:1": 1}
    assert report["operations"]["suppressions"] == {"CPU:1": 1}


@pytest.mark.slow
def test_the_optimizer_computes_where_its_variables_are(report):
    found = report["operations"]
    trained = found["trained"]
    assert trained == {"CPU:0": 6, "CPU:1": 19}
    # Adam takes one square root of each variable's velocity, and one of a number that the first
    # device holds.
    assert found["square roots"] == {"CPU:0": 6 + 25, "CPU:1": 19}
    assert found["joint identities"] == {}  # which would bring all gradients to one device


@pytest.mark.slow
def test_a_training_goes_on_with_another_placement(report):
    assert max(report["resumed"].values()) < 1e-6
