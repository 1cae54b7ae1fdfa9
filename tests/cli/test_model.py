"""``frcnn model show`` tells what a model file holds."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import toy
from click.testing import CliRunner

from frcnn_core import assemble
from frcnn_core.cli import main
from frcnn_core.cli.model import MAX_EPOCHS
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.quantization import quantize
from frcnn_core.spec.load import loads

TOY_PLUGIN = {
    "kind": "backbone",
    "name": "toy",
    "plugin": "toy",
    "distribution": "frcnn-toy",
    "version": "1.5",
}


@pytest.fixture
def show(tmp_path):
    """Write a model to a file and show it; gives click's result."""

    def show(model, *args, key=""):
        path = tmp_path / "model.tlt"
        archive.write(path, model.to_archive(), key)
        return run("model", "show", path, *args)

    return show


def run(*args):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(text):
    """Rows of tables as lists of cells, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def epoch(number, mAP=None):
    losses = {term: float(number) for term in ("rpn_class", "head_class")}
    event = {"event": "trained", "epoch": number, "learning_rate": 0.02}
    event["losses"] = {"total": 2.0 * number, **losses}
    return event if mAP is None else {**event, "mAP": mAP}


@pytest.mark.slow
def test_parts_layers_and_their_sizes_are_listed_in_order(show):
    model = toy.model(freeze_blocks=frozenset({1}), kernel_regularizer=keras.regularizers.L2(0.25))
    result = show(model)
    assert result.exit_code == 0, result.output
    rows = lines(result.output)
    # 3 x 3 x 3 x 8; a stride of 2 from 64 pixels; 3 cells of 16 channels.
    assert rows["features/conv0"] == ["Conv2D", "32 x 32 x 8", "216", "L2 0.25"]
    assert rows["features/conv1"] == ["Conv2D", "16 x 16 x 8", "576", "frozen, L2 0.25"]
    assert rows["features/conv1_bn"] == ["BatchNormalization", "16 x 16 x 8", "32", ""]
    assert rows["rpn/rpn_out_class"][1:3] == ["4 x 4 x 2", "1,026"]
    assert rows["head/head_flatten"] == ["Flatten", "144", "", ""]
    assert rows["head/dense_class"] == ["Dense", "3", "435", "L2 0.25"]
    order = [name for name in rows if name.startswith("features/")]
    assert order[:3] == ["features/input_image", "features/conv0_pad", "features/conv0"]
    assert rows["all"][1] == f"{model.num_parameters:,}"
    features = model.detector.features
    frozen = 576 + 2 * (8 + 8 + 16 + 16)  # conv1, and the statistics of four normalizations
    assert rows["features"][2] == f"{features.count_params() - frozen:,}"


@pytest.mark.slow
def test_layers_can_be_left_out(show):
    result = show(toy.model(), "--no-layers")
    assert "features/conv0" not in result.output
    assert lines(result.output)["features"][0] == "17"  # an input; 4 x pad, conv, bn, relu


@pytest.mark.slow
def test_frozen_statistics_are_told(show):
    rows = lines(show(toy.model(freeze_bn=True)).output)
    assert rows["features/conv1_bn"][3] == "frozen statistics"


@pytest.mark.slow
def test_operations_are_those_of_one_detection(show, tmp_path):
    result = show(toy.model(), "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out.json").read_text())
    layers = {layer["name"]: layer for part in told["parts"] for layer in part["layers"]}
    assert layers["features/conv0"]["operations"] == 2 * 32 * 32 * 216
    assert layers["head/dense_class"]["operations"] == 2 * 300 * 144 * 3  # 300 RoIs by default
    assert layers["features/conv0_bn"]["operations"] == 0
    assert told["operations"] == sum(layer["operations"] for layer in layers.values())
    assert told["rois_per_image"] == 300
    assert "in 64 x 64 pixels" in result.output


@pytest.mark.slow
def test_how_images_reach_it_and_what_made_it_is_told(show):
    model = replace(toy.model(), provenance=(TOY_PLUGIN,))
    output = show(model).output
    assert "model.tlt: a model, toy" in output
    assert "Classes: blue, red" in output
    assert "64x64 (height x width), rgb, (pixel - (40, 40, 40)) / 60" in output
    assert "Anchors: scales 16, 32; ratios 1; targets times 10, 10, 5, 5" in output
    assert "Plugin: backbone toy, of frcnn-toy 1.5" in output


@pytest.mark.slow
def test_the_spec_is_printed_when_asked_for(show):
    model = replace(toy.model(), spec="random_seed: 17\n")
    assert "random_seed: 17" not in show(model).output
    assert show(model, "--spec").output.endswith("\nSpec:\nrandom_seed: 17\n")


@pytest.mark.slow
def test_an_encrypted_file_needs_its_key(show):
    model = toy.model()
    assert show(model, "-k", "secret", key="secret").exit_code == 0
    for args, reason in (((), "give its key with -k"), (("-k", "other"), "the key is wrong")):
        result = show(model, *args, key="secret")
        assert result.exit_code == 2
        assert reason in result.output


@pytest.mark.slow
def test_json_has_all_and_replaces_nothing_unasked(show, tmp_path):
    file = tmp_path / "out.json"
    model = replace(toy.model(), spec="random_seed: 7", history=[epoch(1, mAP=0.5)])
    assert show(model, "--json", file, "--no-layers").exit_code == 0
    told = json.loads(file.read_text())
    assert told["spec"] == "random_seed: 7"
    assert told["history"] == model.history
    assert told["class_names"] == ["blue", "red"]
    assert told["anchors"] == {"scales": [16.0, 32.0], "ratios": [1.0]}
    assert told["parameters"] == model.num_parameters
    (conv0,) = [one for one in told["parts"][0]["layers"] if one["name"] == "features/conv0"]
    assert conv0["output_shape"] == [32, 32, 8]
    refused = show(model, "--json", file)
    assert refused.exit_code == 2
    assert "exists" in refused.output
    assert show(model, "--json", file, "--overwrite").exit_code == 0


# Quantization ---------------------------------------------------------------------------------


def quantized(*, per_channel, seen):
    model = toy.model()
    parts = quantize(model.detector.parts, per_channel_weights=per_channel)
    kernel = np.zeros((3, 3, 3, 8), "float32")
    kernel[0, 0, 0] = [-0.5, 0.125, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]
    parts["features"].get_layer("conv0").kernel.assign(kernel)
    if seen:
        layer = parts["features"].get_layer("input_image_qdq")
        layer.range.assign(2.5)
        layer.counter.assign(3.0)
    return replace(model, detector=FasterRCNN(**parts, anchors=model.detector.anchors))


@pytest.mark.slow
def test_ranges_and_bits_are_told(show):
    rows = lines(show(quantized(per_channel=False, seen=True)).output)
    assert rows["features/conv0"][3] == "kernel 8 bits, range 0.5"
    assert rows["features/input_image_qdq"][3] == "output 8 bits, range 2.5"


@pytest.mark.slow
def test_a_range_of_each_channel_is_told_by_its_extremes_and_an_unseen_one_as_such(show, tmp_path):
    model = quantized(per_channel=True, seen=False)
    rows = lines(show(model, "--json", tmp_path / "out.json").output)
    assert rows["features/conv0"][3] == "kernel 8 bits, 8 ranges 0.125 to 0.5"
    assert rows["features/input_image_qdq"][3] == "output 8 bits, no range yet"
    told = json.loads((tmp_path / "out.json").read_text())["parts"][0]["layers"]
    kernel = next(one["quantization"] for one in told if one["name"] == "features/conv0")
    assert kernel == {"what": "kernel", "bits": 8, "ranges": [0.5, 0.125, *[0.25] * 6]}


# History --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_events_and_epochs_are_told_in_their_order(show):
    model = toy.model()
    model.history = [
        {"event": "started", "arch": "toy", "parameters": 5000},
        epoch(1),
        epoch(2, mAP=0.75),
        {
            "event": "pruned",
            "threshold": 0.1,
            "normalizer": "max",
            "equalization": "union",
            "granularity": 8,
            "min_num_filters": 16,
            "parameters_before": 5000,
            "parameters": 3000,
        },
        {
            "event": "started",
            "arch": "toy",
            "parameters": 3000,
            "field": "retrain_pruned_model",
            "file": "pruned.tlt",
        },
    ]
    output = show(model, "--no-layers").output.partition("History:")[2]
    told = [
        "training of toy started from scratch, 5,000 parameters",
        "0.7500",
        "pruned from 5,000 to 3,000 parameters: threshold 0.1, normalizer max, union",
        "training of toy started from pruned.tlt (retrain_pruned_model), 3,000 parameters",
    ]
    places = [output.index(text) for text in told]
    assert places == sorted(places)
    rows = lines(output)
    assert rows["1"] == ["2.0000", "1.0000", "1.0000", "0.02", "-"]
    assert rows["2"] == ["4.0000", "2.0000", "2.0000", "0.02", "0.7500"]


@pytest.mark.slow
@pytest.mark.parametrize("best", [1, 7, 11, 26, 99, 100])
def test_of_many_epochs_some_are_shown_with_first_last_and_best(show, best):
    model = toy.model()
    model.history = [epoch(n, mAP=0.9 if n == best else 0.5) for n in range(1, 101)]
    output = show(model, "--no-layers").output
    shown = [int(name) for name in lines(output) if name.isdigit()]
    assert {1, best, 100} <= set(shown)
    assert len(shown) <= MAX_EPOCHS
    assert f"{len(shown)} of 100 epochs" in output


@pytest.mark.slow
def test_a_file_of_before_there_was_a_history_has_none(tmp_path):
    content = toy.model().to_archive()
    del content.manifest["history"]
    archive.write(tmp_path / "old.tlt", content)
    result = run("model", "show", tmp_path / "old.tlt")
    assert result.exit_code == 0
    assert "History" not in result.output


# What cannot be shown -------------------------------------------------------------------------


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs


@pytest.mark.slow
def test_layers_are_listed_where_the_plugin_that_has_one_is_missing(show, tmp_path):
    model = toy.model(freeze_blocks=frozenset({1}), kernel_regularizer=keras.regularizers.L1(0.5))
    features = model.detector.features
    made = keras.Model(features.input, Doubled(name="doubled")(features.output), name="features")
    parts = {**model.detector.parts, "features": made}
    detector = FasterRCNN(**parts, anchors=model.detector.anchors)
    result = show(
        replace(model, detector=detector, provenance=(TOY_PLUGIN,)), "--json", tmp_path / "out.json"
    )
    assert result.exit_code == 0, result.output
    assert "pip install 'frcnn-toy==1.5'" in result.output
    assert "features cannot be built, so its layers are listed from the file" in result.output
    rows = lines(result.output)
    assert rows["features/doubled"] == ["Doubled", "?", "", ""]
    assert rows["features/conv1"] == ["Conv2D", "?", "576", "frozen, L1 0.5"]
    assert rows["features"][1:] == [f"{features.count_params():,}", "?", "?"]
    assert rows["head/dense_class"][0] == "Dense"
    assert json.loads((tmp_path / "out.json").read_text())["operations"] is None


def test_an_export_is_named_and_where_to_look_instead(tmp_path):
    folder, onnx = tmp_path / "a.saved_model", tmp_path / "a.onnx"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    onnx.write_bytes(b"\x08\x08\x12\x07")
    for path, kind in ((folder, "a TensorFlow SavedModel"), (onnx, "an ONNX model")):
        result = run("model", "show", path)
        assert result.exit_code == 0
        assert f"{path} is {kind}, an export" in result.output
        assert "frcnn model show, with the .tlt" in result.output


def test_what_is_no_model_file_is_refused_with_what_it_is(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    result = run("model", "show", tmp_path / "weights.h5")
    assert result.exit_code == 2
    assert "is a Keras HDF5 file, not a model file of frcnn" in result.output


@pytest.mark.slow
def test_a_model_of_real_layers_and_a_dynamic_shape_can_be_shown(show, tmp_path):
    text = toy.spec_text(tmp_path).replace('arch: "toy"', 'arch: "resnet:10"')
    text = text.replace("size_height_width { height: 64 width: 64 }", "size_min { min: 64 }")
    text = text.replace("output_image_width: 64 output_image_height: 64", "output_image_max: 96")
    model = assemble.new_model(loads(text), toy.plugins())
    assert isinstance(model, Model) and model.preprocessing.is_dynamic
    result = show(model)
    assert result.exit_code == 0, result.output
    assert "in 64 x 96 pixels" in result.output
    assert lines(result.output)["features/conv1"][1] == "32 x 48 x 64"
