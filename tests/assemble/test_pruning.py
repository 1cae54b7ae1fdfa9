"""Model files opened to be pruned: sizes told beforehand, and what the backbone has to say."""

import json

import keras
import pytest
import toy

from frcnn_core.assemble import open_prunable
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector import flops
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import archive
from frcnn_core.pruning import Criterion

SMALL = Criterion(granularity=1, min_num_filters=2)


def written(folder, model):
    archive.write(folder / "model.tlt", model.to_archive())
    return folder / "model.tlt"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Of a toy as it is."""
    return written(tmp_path_factory.mktemp("toy"), toy.model())


@pytest.mark.slow
def test_what_a_threshold_leaves_is_told_as_it_comes(file):
    prunable = open_prunable(file, "", toy.plugins(), SMALL)
    threshold = prunable.plan.threshold_for(0.4)
    report = prunable.report(threshold)
    pruned = prunable.pruned(threshold)
    assert report.after.parameters == pruned.num_parameters
    counted = flops.of_detection(pruned.detector, (1, 64, 64, 3), rois_per_image=300)
    assert report.after.operations == sum(counted.values())
    for change in report.layers:
        part, name = change.layer.split("/")
        layer = pruned.detector.parts[part].get_layer(name)
        assert change.after == layer.kernel.shape[-1] <= change.before
    assert report.ratio == report.after.parameters / report.before.parameters <= 0.4
    assert prunable.size() == report.before


@pytest.mark.slow
def test_rois_are_those_of_the_models_spec(tmp_path):
    model = toy.model()
    model.spec = "inference_config { rpn_nms_max_boxes: 7 }"
    prunable = open_prunable(written(tmp_path, model), "", toy.plugins(), SMALL)
    assert prunable.rois_per_image == prunable.report(0.5).rois_per_image == 7


@pytest.mark.slow
def test_operations_of_a_dynamic_shape_are_those_of_the_largest_canvas(tmp_path):
    model = toy.model()
    model.detector.dynamic_shape = True
    model.preprocessing = Preprocessing(
        height=0, width=0, min_side=60, max_side=100, means=(40.0,) * 3, scale=60.0
    )
    prunable = open_prunable(written(tmp_path, model), "", toy.plugins(), SMALL)
    assert (prunable.height, prunable.width) == (64, 112)


@pytest.mark.slow
def test_a_depthwise_convolution_is_told_of_with_the_channels_it_reads(tmp_path):
    model = toy.model()
    x = keras.Input((None, None, 3))
    y = keras.layers.Conv2D(16, 16, 16, padding="same", name="a")(x)
    y = keras.layers.DepthwiseConv2D(1, name="depthwise")(y)
    model.detector.features = keras.Model(x, y)
    report = open_prunable(written(tmp_path, model), "", toy.plugins(), SMALL).report(1.0)
    a, depthwise, *_ = report.layers
    assert (a.layer, depthwise.layer) == ("features/a", "features/depthwise")
    assert (a.before, a.after) == (depthwise.before, depthwise.after)
    assert a.after == 2


def test_what_the_backbone_names_keeps_its_channels(file, monkeypatch):
    plugins = toy.plugins()
    entry = plugins.backbones.entry("toy")
    monkeypatch.setattr(type(entry.component), "unprunable", ("conv2",))
    report = open_prunable(file, "", plugins, SMALL).report(1.0)
    kept = {change.layer: change.after for change in report.layers}
    assert (kept["features/conv1"], kept["features/conv2"]) == (2, 16)
    (reason,) = [c.whole_because for c in report.layers if c.layer == "features/conv2"]
    assert "conv2" in reason


@pytest.mark.slow
def test_frozen_layers_are_marked(tmp_path):
    model = toy.model(freeze_blocks=frozenset({1}))
    report = open_prunable(written(tmp_path, model), "", toy.plugins(), SMALL).report(0.5)
    assert [change.layer for change in report.layers if change.frozen] == ["features/conv1"]


def test_a_layer_that_is_not_there_is_refused(file):
    with pytest.raises(FrcnnError, match="Did you mean features/conv1"):
        open_prunable(file, "", toy.plugins(), SMALL, excluded_layers=["features/conv11"])


@pytest.mark.slow
def test_what_a_report_says_is_ready_for_json(file):
    report = open_prunable(file, "", toy.plugins(), SMALL).report(0.5)
    content = json.loads(json.dumps(report.as_dict()))
    assert content["threshold"] == 0.5 and content["granularity"] == 1
    assert len(content["layers"]) == len(report.layers)
