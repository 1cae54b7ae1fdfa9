"""A model that is trained again obeys the new spec, whatever its file says."""

from copy import copy
from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from frcnn_core import Backbone, assemble
from frcnn_core.assemble.start import start
from frcnn_core.detector.quantized_layers import QuantizedConv2D, QuantizedDense
from frcnn_core.detector.settings import TrainingSettings
from frcnn_core.errors import FrcnnError, SpecError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.plugin.registry import Registered
from frcnn_core.pruning import find_channels, rebuild
from frcnn_core.spec.load import loads
from frcnn_core.structures import Batch

pytestmark = pytest.mark.slow  # each draws a network, writes it and draws it anew: a second or two

L2 = "regularizer { type: L2 weight: 0.25 }"
L1 = "regularizer { type: L1 weight: 0.25 }"
NO_REG = "regularizer { type: NO_REG weight: 0 }"

SETTINGS = TrainingSettings(
    rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16, roi_mini_batch=8, rpn_mini_batch=8, gt_as_roi=True
)


def spec_of(folder, **given):
    return loads(toy.spec_text(folder, **given))


def halved(model: Model) -> Model:
    """A model without every second channel of each group that may lose some."""
    parts = model.detector.parts
    channels = find_channels(parts)
    keep = {group: range(0, group.size, 2) for group in channels.groups if group.prunable}
    assert keep
    detector = copy(model.detector)
    for name, part in rebuild(parts, channels, keep).items():
        setattr(detector, name, part)
    return replace(model, detector=detector)


@pytest.fixture
def retrain(tmp_path):
    """Write a model, start a training that retrains it, and give the model to train."""

    def retrain(model, *, model_config="", training=L2, policy="float32", key="", text=None):
        path = tmp_path / "pruned.tlt"
        archive.write(path, model.to_archive(), key)
        text = text or toy.spec_text(
            tmp_path,
            model=model_config,
            training=f'{training} retrain_pruned_model: "{path}"',
        )
        found, loaded, state = start(loads(text), toy.plugins(), key, policy)
        assert loaded is None and not state
        return found

    return retrain


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A toy with half of its channels and numbers of its own in every variable.

    Several tests look at one network, and change at most what is said beside it.
    """
    folder = tmp_path_factory.mktemp("pruned")

    @cache
    def drawn(model_config, training):
        spec = spec_of(folder, model=model_config, training=training)
        model = halved(assemble.new_model(spec, toy.plugins()))
        random = np.random.default_rng(0)
        for part in model.detector.parts.values():
            for variable in part.weights:
                variable.assign(random.uniform(0.1, 0.2, variable.shape))
        return model

    def pruned(model_config="", training=L2):
        return replace(drawn(model_config, training))

    return pruned


def kernels(detector, kinds=(keras.layers.Conv2D, keras.layers.Dense)):
    return [
        layer.kernel
        for part in detector.parts.values()
        for layer in part.layers
        if type(layer) in kinds
    ]


def losses_of(detector, side=toy.SIDE):
    """Of one image with one object."""
    batch = Batch(
        images=tf.random.stateless_normal([1, side, side, 3], [0, 1]),
        boxes=tf.constant([[[8.0, 8.0, 40.0, 40.0]]]),
        classes=tf.constant([[0]]),
        sizes=tf.constant([[float(side)] * 2]),
        scales=tf.ones([1, 2]),
        difficult=tf.constant([[False]]),
        names=tf.constant(["scene"]),
    )
    return detector.losses(batch, tf.constant([[0, 0]]), SETTINGS)


def losses_and_gradients(detector, side=toy.SIDE):
    variables = detector.trainable_variables
    with tf.GradientTape() as tape:
        losses = losses_of(detector, side)
        objective = losses.total
    gradients = tape.gradient(objective, variables)
    return losses, {v.path: g for v, g in zip(variables, gradients, strict=True)}


def weights_of(model):
    return {
        name: value
        for name, value in model.to_archive().weights.items()
        if not name.endswith("seed_generator_state")
    }


def assert_same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


# Weights and channels -------------------------------------------------------------------------


def test_a_pruned_model_goes_on_with_its_own_weights(pruned, retrain):
    model = pruned()
    found = retrain(model)
    assert found.detector.features.get_layer("conv2").filters == 8
    assert found.num_parameters == model.num_parameters
    assert_same_weights(found, model)


def test_a_model_that_was_never_pruned_can_be_retrained(tmp_path, retrain):
    model = assemble.new_model(spec_of(tmp_path, seed=7), toy.plugins())
    assert_same_weights(retrain(model), model)


def test_it_computes_what_the_file_computes(pruned, retrain):
    model = pruned()
    found = retrain(model, training=NO_REG)
    images = np.random.default_rng(1).standard_normal((1, 64, 64, 3), "float32")
    maps = [m.detector.features(images) for m in (model, found)]
    np.testing.assert_array_equal(*maps)
    heads = [m.detector.head(np.ones((2, 3, 3, 8), "float32"))[0] for m in (model, found)]
    np.testing.assert_array_equal(*heads)


def test_pruning_and_retraining_can_take_turns(pruned, retrain):
    once = retrain(pruned(), training=NO_REG)
    twice = retrain(halved(once), training=L2)
    assert twice.detector.features.get_layer("conv2").filters == 4
    assert twice.detector.head.get_layer("head_conv").kernel.shape == (3, 3, 4, 4)
    assert float(losses_of(twice.detector).regularization) > 0


def test_an_encrypted_file_is_retrained_with_its_key(pruned, retrain):
    model = pruned()
    assert_same_weights(retrain(model, key="secret"), model)


def test_the_new_spec_is_saved_and_training_starts_at_the_first_epoch(pruned, retrain):
    model = pruned()
    model.progress = {"epoch": 3}
    found = retrain(model, training=NO_REG)
    assert found.progress == {}
    assert "type: NO_REG" in found.spec


def test_it_can_be_retrained_in_mixed_precision(pruned, retrain):
    model = pruned()
    found = retrain(model, policy="mixed_bfloat16")
    assert found.detector.features.get_layer("conv2").compute_dtype == "bfloat16"
    assert_same_weights(found, model)


# Regularizers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [L1, L2])
def test_no_reg_removes_the_regularizers_of_all_parts(pruned, retrain, before):
    found = retrain(pruned(training=before), training=NO_REG)
    losses = losses_of(found.detector)
    assert float(losses.regularization) == 0.0
    for part in found.detector.parts.values():
        assert not part.losses


@pytest.mark.parametrize("before", [NO_REG, L1])
def test_l2_is_the_weight_times_the_sum_of_all_kernels_squares(pruned, retrain, before):
    found = retrain(pruned(training=before), training=L2)
    losses = losses_of(found.detector)
    hand = 0.25 * sum(float(np.square(kernel.numpy()).sum()) for kernel in kernels(found.detector))
    assert float(losses.regularization) == pytest.approx(hand, rel=1e-5)


def test_l1_is_the_weight_times_the_sum_of_all_kernels_sizes(pruned, retrain):
    found = retrain(pruned(training=L2), training=L1)
    losses = losses_of(found.detector)
    hand = 0.25 * sum(float(np.abs(kernel.numpy()).sum()) for kernel in kernels(found.detector))
    assert float(losses.regularization) == pytest.approx(hand, rel=1e-5)


class Separable(Backbone):
    """One block of a MobileNet, in a model of its own inside of each part."""

    name = "separable"
    freeze_ids = range(0, 2)

    def features(self, images, blocks):
        x = blocks.conv_bn(images, 8, 3, name="conv0", block=0, strides=16)
        inside = keras.Input((None, None, 8))
        y = blocks.depthwise(inside, 3, name="conv_dw", block=1)
        y = blocks.conv_bn(y, 8, 1, name="conv_pw", block=1)
        return keras.Model(inside, y, name="inner")(x)

    def head(self, rois, blocks):
        inside = keras.Input(rois.shape[1:])
        y = blocks.conv(inside, 8, 1, name="head_conv", block=None)
        x = keras.Model(inside, y, name="inner_head")(rois)
        return keras.layers.GlobalAveragePooling2D(name="average")(x)


def test_regularizers_reach_inner_models_and_no_depthwise_kernel(tmp_path, monkeypatch):
    """The loss is that of a fresh drawing, whose kernels are the file's."""
    installed = toy.plugins()
    installed.backbones.add(Registered(Separable(), "separable", "a test 1"))
    monkeypatch.setattr(toy, "plugins", lambda: installed)

    def text(**given):
        return toy.spec_text(tmp_path, **given).replace('arch: "toy"', 'arch: "separable"')

    model = assemble.new_model(loads(text(training=L2)), installed)
    archive.write(tmp_path / "model.tlt", model.to_archive())
    path = f'retrain_pruned_model: "{tmp_path}/model.tlt"'
    expected = {NO_REG: 0.0, L1: 0.0, L2: 0.0}
    inner = [
        model.detector.features.get_layer("inner"),
        model.detector.head.get_layer("inner_head"),
    ]
    hand = kernels(model.detector) + [
        layer.kernel for m in inner for layer in m.layers if type(layer) is keras.layers.Conv2D
    ]
    assert len(hand) == 1 + 3 + 2 + 2
    expected[L1] = 0.25 * sum(float(np.abs(kernel.numpy()).sum()) for kernel in hand)
    expected[L2] = 0.25 * sum(float(np.square(kernel.numpy()).sum()) for kernel in hand)
    for training, loss in expected.items():
        found, _, _ = start(loads(text(training=training + path)), installed, "", "float32")
        terms = [float(term) for part in found.detector.parts.values() for term in part.losses]
        assert sum(terms) == pytest.approx(loss, rel=1e-5)


# Quantization-aware training ------------------------------------------------------------------


def test_a_quantized_model_keeps_its_ranges_and_obeys_the_spec_otherwise(pruned, retrain):
    model = pruned(training="enable_qat: True " + L2)
    found = retrain(
        model,
        model_config="freeze_blocks: 1",
        training="enable_qat: True qat_config { per_channel_weights: True } " + L1,
    )
    assert_same_weights(found, model)
    features = found.detector.features
    assert float(features.get_layer("input_image_qdq").range.value) > 0.05
    assert features.get_layer("conv0").per_channel
    assert not features.get_layer("conv1").trainable
    learnt = [
        kernel
        for kernel in kernels(found.detector, (QuantizedConv2D, QuantizedDense))
        if kernel.path != "conv1/kernel"
    ]
    hand = 0.25 * sum(float(np.abs(kernel.numpy()).sum()) for kernel in learnt)
    terms = [float(term) for part in found.detector.parts.values() for term in part.losses]
    assert sum(terms) == pytest.approx(hand, rel=1e-5)


# Freezing -------------------------------------------------------------------------------------


def test_the_blocks_of_the_new_spec_are_frozen_and_no_others(pruned, retrain):
    found = retrain(pruned("freeze_blocks: 0"), model_config="freeze_blocks: 1 freeze_blocks: 2")
    gradients = losses_and_gradients(found.detector)[1]
    learn = {name for name, gradient in gradients.items() if gradient is not None}
    assert {"conv0/kernel", "conv3/kernel", "conv1_bn/gamma", "head_conv/kernel"} <= learn
    assert not {"conv1/kernel", "conv2/kernel"} & learn


def moved_statistics(detector):
    norm = detector.features.get_layer("conv0_bn")
    before = norm.moving_mean.numpy()
    losses_of(detector)
    return not np.array_equal(before, norm.moving_mean.numpy())


@pytest.mark.parametrize("before", ["True", "False"])
def test_freeze_bn_is_that_of_the_new_spec_and_keeps_the_files_statistics(pruned, retrain, before):
    model = pruned(f"freeze_bn: {before}")
    frozen = retrain(model, model_config="freeze_bn: True")
    assert not moved_statistics(frozen.detector)
    assert_same_weights(frozen, model)
    assert moved_statistics(retrain(model, model_config="freeze_bn: False").detector)


# Dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "dropout_rate: 0.25"])
def test_dropout_is_drawn_where_the_new_spec_has_it(pruned, retrain, before):
    model = pruned(before)
    found = retrain(model, model_config="dropout_rate: 0.5")
    assert found.detector.head.get_layer("head_dropout").rate == 0.5
    assert_same_weights(found, model)


def test_dropout_goes_where_the_new_spec_has_none(pruned, retrain):
    found = retrain(pruned("dropout_rate: 0.25"))
    assert "head_dropout" not in [layer.name for layer in found.detector.head.layers]


# RoI pooling ----------------------------------------------------------------------------------


def test_a_dense_layer_behind_the_map_refuses_another_pool_size(pruned, retrain, tmp_path):
    text = toy.spec_text(
        tmp_path, training=f'retrain_pruned_model: "{tmp_path}/pruned.tlt"'
    ).replace("pool_size: 3", "pool_size: 4")
    with pytest.raises(SpecError) as error:
        retrain(pruned(), text=text)
    assert "model_config.roi_pooling_config" in str(error.value)
    assert "pools RoIs to 3 x 3 cells" in str(error.value)
    assert "its layer dense_class are for one size only" in str(error.value)
    assert str(error.value).endswith("Type pool_size: 3 pool_size_2x: False.")


def test_twice_the_pool_size_comes_with_the_stride_that_undoes_it(pruned, retrain, tmp_path):
    model = pruned()
    text = toy.spec_text(
        tmp_path, training=f'retrain_pruned_model: "{tmp_path}/pruned.tlt"'
    ).replace("pool_size: 3", "pool_size: 3 pool_size_2x: True")
    found = retrain(model, text=text)
    assert found.detector.head.input.shape == (None, 6, 6, 8)
    assert found.detector.head.get_layer("head_conv").strides == (2, 2)
    assert_same_weights(found, model)
    losses = losses_of(found.detector)
    assert np.isfinite(float(losses.total))


RESNET = (
    ('arch: "toy"', 'arch: "resnet:10"'),
    ("height: 64 width: 64", "height: 32 width: 32"),
    (
        "output_image_width: 64 output_image_height: 64",
        "output_image_width: 32 output_image_height: 32",
    ),
)


def resnet_text(folder, roi_pooling, **given):
    text = toy.spec_text(folder, **given)
    for old, new in (*RESNET, ("pool_size: 3", roi_pooling)):
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_pruned_resnet_takes_other_pool_sizes(retrain, tmp_path):
    spec = loads(resnet_text(tmp_path, "pool_size: 3"))
    model = halved(assemble.new_model(spec, toy.plugins()))
    path = f'retrain_pruned_model: "{tmp_path}/pruned.tlt"'
    for roi_pooling, side, stride in (
        ("pool_size: 4", 4, 1),
        ("pool_size: 3 pool_size_2x: True", 6, 2),
    ):
        text = resnet_text(tmp_path, roi_pooling, training=path)
        found = retrain(model, text=text)
        head = found.detector.head
        assert head.input.shape == (None, side, side, 128)
        assert head.get_layer("block_4a_conv_1").strides == (stride, stride)
        assert_same_weights(found, model)
        losses, gradients = losses_and_gradients(found.detector, side=32)
        assert np.isfinite(float(losses.total))
        assert float(tf.norm(gradients["block_4a_conv_1/kernel"])) > 0


# Other networks -------------------------------------------------------------------------------


def test_another_arch_is_refused_with_the_one_to_type(retrain, tmp_path, pruned):
    text = toy.spec_text(tmp_path, training=f'retrain_pruned_model: "{tmp_path}/pruned.tlt"')
    with pytest.raises(SpecError, match='Type arch: "toy"'):
        retrain(pruned(), text=text.replace('arch: "toy"', 'arch: "resnet:10"'))


def test_another_network_of_the_same_arch_is_refused_with_its_field(pruned, retrain):
    with pytest.raises(SpecError, match=r"the spec has use_bias: True, .*\n  Type use_bias: False"):
        retrain(pruned(), model_config="use_bias: True")


def test_an_option_of_the_backbone_that_changes_no_weight_is_refused_too(retrain, tmp_path):
    text = toy.spec_text(tmp_path).replace('arch: "toy"', 'arch: "mobilenet_v2"')
    model = toy.model()
    model.arch, model.spec = "mobilenet_v2", text
    model.preprocessing = assemble.preprocessing(loads(text))
    option = 'arch: "mobilenet_v2" backbone_options { key: "relu6" value: "true" }'
    text = text.replace('arch: "mobilenet_v2"', option)
    text += f'training_config {{ retrain_pruned_model: "{tmp_path}/pruned.tlt" }}'
    with pytest.raises(SpecError, match=r'Type backbone_options { key: "relu6" value: "false" }'):
        retrain(model, text=text)


def test_a_file_without_a_spec_that_does_not_fit_is_refused_with_the_layer(pruned, retrain):
    model = pruned()
    model.spec = ""
    with pytest.raises(SpecError, match="features/conv0/bias is in the spec's network only"):
        retrain(model, model_config="use_bias: True")


@pytest.mark.parametrize(
    "old, new, field",
    [
        ('value: "blue"', 'value: "red"', "target_class_mapping"),
        ("height: 64 width: 64", "height: 96 width: 64", "input_image_config"),
        ("ratio: [1.0]", "ratio: [2.0]", "anchor_box_config"),
    ],
)
def test_other_classes_images_or_anchors_are_refused(pruned, retrain, tmp_path, old, new, field):
    text = toy.spec_text(tmp_path, training=f'retrain_pruned_model: "{tmp_path}/pruned.tlt"')
    assert old in text
    with pytest.raises(FrcnnError, match=field):
        retrain(pruned(), text=text.replace(old, new))


# History --------------------------------------------------------------------------------------


def test_the_history_goes_on_with_where_the_training_started_from(pruned, retrain):
    model = pruned()
    model.history = [{"event": "pruned"}]
    found = retrain(model)
    assert found.history == [
        {"event": "pruned"},
        {
            "event": "started",
            "arch": "toy",
            "parameters": model.num_parameters,
            "field": "retrain_pruned_model",
            "file": "pruned.tlt",
        },
    ]
