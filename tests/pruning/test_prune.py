"""Pruned models: what they keep, that they run, and that they can be pruned again."""

from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
import toy
from families import marks_of
from random_networks import randomize

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.plugin.discovery import installed
from frcnn_core.pruning import Criterion, Plan, check_layer_names, prune
from frcnn_core.quantization import quantize, quantizers, ranges

SMALL = Criterion(granularity=2, min_num_filters=2)
"""For the toy detector's eight to sixteen channels."""


@pytest.fixture(scope="module")
def model():
    """A toy model of which every field has a value of its own."""
    model = toy.model(freeze_blocks=frozenset({0}))
    randomize(model.detector.parts, seed=1)
    model.spec = "random_seed: 7"
    model.provenance = ({"kind": "backbone", "name": "toy"},)
    model.progress = {"epoch": 3}
    model.history = [{"event": "trained", "epoch": 3}]
    model.detector = FasterRCNN(
        **model.detector.parts,
        anchors=model.detector.anchors,
        regression_scale=(8.0, 8.0, 4.0, 4.0),
    )
    return model


def to_half(model, **options):
    plan = Plan(model.detector.parts, SMALL, **options)
    return prune(model, plan, plan.threshold_for(0.5))


@pytest.mark.slow
def test_all_that_is_no_channel_is_kept_and_progress_is_not(model):
    pruned = to_half(model)
    for name in ("class_names", "preprocessing", "arch", "spec", "provenance"):
        assert getattr(pruned, name) == getattr(model, name)
    for name in ("anchors", "regression_scale", "dynamic_shape"):
        assert getattr(pruned.detector, name) == getattr(model.detector, name)
    assert pruned.progress == {}
    assert model.progress == {"epoch": 3}


def test_its_history_says_how_it_was_pruned(model):
    plan = Plan(model.detector.parts, SMALL)
    pruned = prune(model, plan, 0.75)
    assert pruned.history == [
        {"event": "trained", "epoch": 3},
        {
            "event": "pruned",
            "threshold": 0.75,
            "normalizer": "max",
            "equalization": "union",
            "granularity": 2,
            "min_num_filters": 2,
            "parameters_before": model.num_parameters,
            "parameters": pruned.num_parameters,
        },
    ]
    assert len(model.history) == 1


@pytest.mark.slow
def test_the_given_model_stays_as_it_is(model):
    before = model.to_archive()
    to_half(model)
    after = model.to_archive()
    assert after.parts == before.parts
    for name, weight in after.weights.items():
        assert (weight == before.weights[name]).all()


@pytest.mark.slow
def test_predictors_and_the_outputs_of_the_rpn_are_never_pruned(model):
    for pruned in (to_half(model), prune(model, Plan(model.detector.parts, SMALL), 1.0)):
        for name in ("rpn", "head"):
            before, after = (m.detector.parts[name].outputs for m in (model, pruned))
            assert [x.shape for x in after] == [x.shape for x in before]


def test_frozen_layers_are_pruned_and_stay_frozen(model):
    pruned = to_half(model)
    layer = pruned.detector.features.get_layer("conv0")
    assert not layer.trainable
    assert layer.filters < model.detector.features.get_layer("conv0").filters == 8


@pytest.mark.slow
def test_named_layers_keep_their_filters(model):
    filters = {
        name: layer.filters
        for name in ("conv1", "conv2")
        for layer in [to_half(model, fixed=["conv1"]).detector.features.get_layer(name)]
    }
    assert filters["conv1"] == 8 and filters["conv2"] < 16


def test_a_threshold_out_of_range_is_refused(model):
    with pytest.raises(FrcnnError, match=r"pruning_threshold: 1\.5 is out of range"):
        prune(model, Plan(model.detector.parts, SMALL), 1.5)


@pytest.mark.slow
def test_the_optimizers_state_does_not_come_along(model):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.detector.trainable_variables)
    assert model.to_archive(optimizer).optimizer
    assert not to_half(model).to_archive().optimizer


@pytest.mark.slow
def test_a_pruned_model_can_be_pruned_again_after_a_round_trip_through_a_file(model, tmp_path):
    sizes = [model.num_parameters]
    for turn in range(3):
        model = to_half(model)
        archive.write(tmp_path / f"{turn}.tlt", model.to_archive())
        model = Model.from_archive(archive.read(tmp_path / f"{turn}.tlt"))
        sizes.append(model.num_parameters)
    assert [event["event"] for event in model.history] == ["trained", *["pruned"] * 3]
    assert [event["parameters"] for event in model.history[1:]] == sizes[1:]
    assert all(2 * after <= before for before, after in pairwise(sizes))


# Names of layers --------------------------------------------------------------------------------


@pytest.mark.slow
def test_layers_may_be_named_with_their_part_or_without():
    parts = toy.detector().parts
    check_layer_names(parts, ["conv1", "features/conv1", "head/head_conv", "rpn_conv1"])


@pytest.mark.slow
def test_all_unknown_names_are_told_with_the_closest_one():
    with pytest.raises(FrcnnError) as error:
        check_layer_names(toy.detector().parts, ["conv1", "feature/conv2", "hed_conv", "xyz"])
    assert str(error.value).splitlines() == [
        "excluded_layers: there is no layer 'feature/conv2'. Did you mean features/conv2?",
        "excluded_layers: there is no layer 'hed_conv'. Did you mean head_conv?",
        "excluded_layers: there is no layer 'xyz'.",
        "  frcnn model show MODEL lists the layers.",
    ]


@pytest.mark.slow
def test_an_input_is_no_layer_to_exclude():
    parts = toy.detector().parts
    name = f"rpn/{parts['rpn'].layers[0].name}"
    with pytest.raises(FrcnnError, match=f"{name} is an input, which has no filters"):
        check_layer_names(parts, ["conv1", name])


def test_layers_of_a_model_in_a_part_have_its_name_in_theirs():
    x, y = keras.Input((4, 4, 3)), keras.Input((None, None, 3))
    inner = keras.Model(y, keras.layers.Conv2D(3, 1, name="conv")(y), name="inner")
    parts = {"features": keras.Model(x, inner(x))}
    check_layer_names(parts, ["features/inner", "features/inner/conv", "conv"])


# Every backbone ---------------------------------------------------------------------------------

FAMILIES = sorted(
    (entry.component for entry in installed().backbones), key=lambda component: component.name
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [pytest.param(one, id=one.name, marks=marks_of(one.name)) for one in FAMILIES],
)
def test_a_backbone_is_pruned_and_detects(backbone):
    """Its first variant, with random weights, at thresholds that leave much and little."""
    config = BackboneConfig(
        variant=next(iter(backbone.variants), ""), pool_size=3, options=backbone.Options()
    )
    keras.utils.set_random_seed(0)
    parts = draw(backbone, config, channels=3, anchors_per_cell=4, num_classes=2)
    model = Model(
        detector=FasterRCNN(*parts, anchors=Anchors(scales=(16.0, 32.0), ratios=(1.0, 2.0))),
        class_names=("a", "b"),
        preprocessing=Preprocessing(height=64, width=64, means=(0.0,) * 3, scale=1.0),
        arch=backbone.name,
        spec="",
    )
    plan = Plan(model.detector.parts, Criterion(), fixed=backbone.unprunable)
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    settings = DetectionSettings(rpn_nms_max_boxes=4, object_confidence_thres=0.0)
    for ratio in (0.7, 0.1):
        threshold = plan.threshold_for(ratio)
        pruned = prune(model, plan, threshold, custom_layers=backbone.custom_layers())
        assert pruned.num_parameters == plan.num_parameters(threshold)
        assert 0.9 * ratio < pruned.num_parameters / model.num_parameters <= ratio
        for name in ("rpn", "head"):
            before, after = (m.detector.parts[name].outputs for m in (model, pruned))
            assert [x.shape for x in after] == [x.shape for x in before]
        found = pruned.detector.detect(images, np.float32([[64, 64]]), settings)
        assert found.counts.numpy() > 0
        assert np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()


# With fake quantization -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_quantized_model_loses_the_filters_that_it_would_lose_without(model):
    plain = Plan(model.detector.parts, SMALL)
    for per_channel in (False, True):
        parts = quantize(model.detector.parts, per_channel_weights=per_channel)
        for number, layer in enumerate(quantizers(parts), 1):
            layer.range.assign(number)
            layer.counter.assign(1)
        plan = Plan(parts, SMALL)
        threshold = plain.threshold_for(0.5)
        kept = {group.layers: indices.tolist() for group, indices in plan.keep(threshold).items()}
        assert kept == {
            group.layers: indices.tolist() for group, indices in plain.keep(threshold).items()
        }
        detector = FasterRCNN(**parts, anchors=model.detector.anchors)
        pruned = prune(replace(model, detector=detector), plan, threshold)
        assert pruned.num_parameters == plan.num_parameters(threshold)
        assert ranges(pruned.detector.parts).tensors == ranges(parts).tensors
