import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import PARTS, Model, restore_optimizer, with_precision

DETECTION = DetectionSettings(
    rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16, object_confidence_thres=0.0
)


@pytest.fixture(scope="module")
def model():
    return toy.model()


def detections(model):
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3), "float32")
    found = model.detector.detect(images, np.full((2, 2), 64, "float32"), DETECTION)
    assert found.counts.numpy().min() > 0
    return found


def assert_same_detections(one, other):
    for name, column in detections(one)._asdict().items():
        np.testing.assert_array_equal(column, getattr(detections(other), name), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["", "secret"])
def test_a_model_that_went_through_a_file_detects_the_same(model, tmp_path, key):
    path = tmp_path / "model.tlt"
    archive.write(path, model.to_archive(), key)
    copy = Model.from_archive(archive.read(path, key))
    assert_same_detections(copy, model)


def test_everything_but_the_network_comes_back_too(model):
    model = replace(
        model,
        spec="random_seed: 7",
        provenance=({"kind": "backbone", "name": "toy", "plugin": "toy"},),
        progress={"epoch": 3},
        history=[{"event": "pruned", "threshold": 0.1}],
    )
    copy = Model.from_archive(model.to_archive())
    for name in (
        "class_names",
        "preprocessing",
        "arch",
        "spec",
        "provenance",
        "progress",
        "history",
    ):
        assert getattr(copy, name) == getattr(model, name), name
    assert tuple(copy.detector.anchors.scales) == (16.0, 32.0)
    assert tuple(copy.detector.anchors.ratios) == (1.0,)
    assert copy.detector.regression_scale == (10.0, 10.0, 5.0, 5.0)


@pytest.mark.slow
def test_a_dynamic_shape_comes_back_and_has_to_be_one_of_both():
    detector = toy.detector()
    dynamic = FasterRCNN(**detector.parts, anchors=detector.anchors, dynamic_shape=True)
    fields = {"class_names": toy.CLASSES, "arch": "toy", "spec": ""}
    shape = Preprocessing(0, 0, min_side=64, max_side=96)
    copy = Model.from_archive(Model(dynamic, preprocessing=shape, **fields).to_archive())
    assert copy.detector.dynamic_shape
    assert copy.preprocessing == shape
    for one, other in ((detector, shape), (dynamic, Preprocessing(64, 64))):
        with pytest.raises(ValueError, match="dynamic shape"):
            Model(one, preprocessing=other, **fields)


@pytest.mark.slow
def test_frozen_layers_and_statistics_are_frozen_again():
    model = toy.model(freeze_bn=True, freeze_blocks=frozenset({1}))
    copy = Model.from_archive(model.to_archive())
    assert not copy.detector.features.get_layer("conv1").trainable
    assert copy.detector.features.get_layer("conv0_bn").frozen_statistics
    paths = [[v.path for v in m.detector.trainable_variables] for m in (model, copy)]
    assert paths[0] == paths[1]


@pytest.mark.slow
def test_regularizers_come_back():
    model = toy.model(kernel_regularizer=keras.regularizers.L2(0.25))
    copy = Model.from_archive(model.to_archive())
    assert copy.detector.features.get_layer("conv1").kernel_regularizer.l2 == 0.25
    assert copy.detector.head.get_layer("dense_class").kernel_regularizer.l2 == 0.25


def test_a_file_of_before_there_was_a_history_has_an_empty_one(model):
    content = model.to_archive()
    del content.manifest["history"]
    assert Model.from_archive(content).history == []


def test_a_file_keeps_the_history_of_when_it_was_made(model):
    content = replace(model, history=[{"event": "started"}]).to_archive()
    copy = Model.from_archive(content)
    copy.history.append({"event": "trained"})
    assert content.manifest["history"] == [{"event": "started"}]


def test_weights_are_named_by_part_layer_and_variable(model):
    names = set(model.to_archive().weights)
    assert {"features/conv0/kernel", "features/conv0_bn/moving_mean"} <= names
    assert {"rpn/rpn_out_class/bias", "head/dense_regress/kernel"} <= names
    sizes = [array.size for array in model.to_archive().weights.values()]
    assert sum(sizes) == model.num_parameters


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trained_in_mixed_precision_is_written_and_read_in_float32(precision):
    mixed = toy.model(precision=precision)
    stored = mixed.to_archive()
    assert precision.removeprefix("mixed_") not in json.dumps(stored.parts)
    assert {str(array.dtype) for array in stored.weights.values()} == {"float32"}
    copy = Model.from_archive(stored)
    assert_same_detections(copy, toy.model())  # of the same seed


def test_a_model_can_be_read_to_train_in_mixed_precision(model):
    mixed = Model.from_archive(model.to_archive(), precision="mixed_bfloat16")
    for part in mixed.detector.parts.values():
        assert {layer.compute_dtype for layer in part.layers if layer.weights} == {"bfloat16"}
    assert {v.dtype for v in mixed.detector.trainable_variables} == {"float32"}
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    expected = model.detector.features(images).numpy()
    found = tf.cast(mixed.detector.features(images), tf.float32)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_with_precision_changes_every_policy_and_nothing_else(model):
    text = model.detector.head.to_json()
    mixed = with_precision(text, "mixed_bfloat16")
    assert '"float32"' not in mixed.replace('"dtype": "float32"', "")
    assert json.loads(with_precision(mixed, "float32")) == json.loads(text)


def test_a_missing_weight_is_named(model):
    content = model.to_archive()
    weights = {name: v for name, v in content.weights.items() if name != "rpn/rpn_conv1/kernel"}
    with pytest.raises(ModelFileError, match=r"Weights rpn/rpn_conv1/kernel: .*found nothing"):
        Model.from_archive(replace(content, weights=weights))


def test_a_weight_of_another_shape_is_named(model):
    content = model.to_archive()
    weights = {**content.weights, "rpn/rpn_conv1/bias": np.zeros(3, "float32")}
    with pytest.raises(ModelFileError, match=r"rpn_conv1/bias: expected \(512,\), found \(3,\)"):
        Model.from_archive(replace(content, weights=weights))


@pytest.mark.parametrize(
    "change",
    [
        {"parts": {}},
        {"parts": dict.fromkeys(PARTS, "no JSON")},
        {"parts": dict.fromkeys(PARTS, '{"class_name": "Nowhere", "config": {}}')},
        {"manifest": {}},
    ],
)
def test_an_archive_of_something_else_is_no_detector(model, change):
    with pytest.raises(ModelFileError, match="no usable detector"):
        Model.from_archive(replace(model.to_archive(), **change))


# Optimizers -----------------------------------------------------------------------------------


def trained(optimizer, steps=2):
    """A model after steps along the gradient of its weights' squares, and its optimizer."""
    model = toy.model()
    variables = model.detector.trainable_variables
    for _ in range(steps):
        optimizer.apply([tf.convert_to_tensor(v.value) for v in variables], variables)
    return model


@pytest.mark.slow
def test_a_restored_optimizer_steps_as_the_first_one_would_have():
    first = keras.optimizers.Adam(0.01)
    model = trained(first)
    stored = model.to_archive(first)
    copy, second = Model.from_archive(stored), keras.optimizers.Adam(0.5)
    restore_optimizer(second, copy.detector.trainable_variables, stored.optimizer)
    assert int(second.iterations.numpy()) == 2
    for each, optimizer in ((model, first), (copy, second)):
        variables = each.detector.trainable_variables
        optimizer.apply([tf.ones_like(v.value) for v in variables], variables)
    for one, other in zip(
        model.detector.trainable_variables, copy.detector.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_model_without_an_optimizer_has_no_state(model):
    assert model.to_archive().optimizer == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", [keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.RMSprop(0.1)]
)
def test_the_state_of_another_optimizer_is_refused_with_what_to_do(other):
    first = keras.optimizers.Adam(0.01)
    model = trained(first, steps=1)
    state = model.to_archive(first).optimizer
    with pytest.raises(ModelFileError, match=r"another optimizer.*pretrained_weights"):
        restore_optimizer(other, model.detector.trainable_variables, state)


@pytest.mark.slow
def test_the_state_of_other_frozen_layers_is_refused():
    first = keras.optimizers.Adam(0.01)
    state = trained(first, steps=1).to_archive(first).optimizer
    frozen = toy.model(freeze_blocks=frozenset({0}))
    with pytest.raises(ModelFileError, match="other layers were frozen"):
        restore_optimizer(keras.optimizers.Adam(0.01), frozen.detector.trainable_variables, state)
