"""The contract of backbones, and one broken backbone for each thing that it checks."""

import os

import keras
import numpy as np
import pytest

from frcnn_core import Backbone, ImportPlan, Unit
from frcnn_core.plugin.import_plan import DARKNET
from frcnn_core.testing import BackboneContract


class Good(Backbone):
    """Two convolutions of stride 4, and a third one after RoI pooling."""

    name = "good"
    summary = "for tests"
    freeze_ids = range(0, 2)

    def features(self, images, blocks):
        x = blocks.conv_bn(images, 4, 5, name="conv0", block=0, strides=4)
        return blocks.conv_bn(self.between(x, blocks), 8, 5, name="conv1", block=1, strides=4)

    def between(self, x, blocks):
        return x

    def head(self, rois, blocks):
        strides = 2 if blocks.config.pool_size_2x else 1
        x = blocks.conv_bn(rois, 8, 3, name="head_conv", block=None, strides=strides)
        return self.vector(x)

    def vector(self, x):
        return keras.layers.Flatten(name="vector")(x)


class Between(keras.layers.Layer):
    """A layer that leaves shapes as they are."""

    def compute_output_shape(self, input_shape):
        return input_shape


# Shapes ---------------------------------------------------------------------------------------


class OfStride8(Good):
    def features(self, images, blocks):
        x = blocks.conv_bn(images, 4, 5, name="conv0", block=0, strides=4)
        return blocks.conv_bn(x, 8, 5, name="conv1", block=1, strides=2)


class RoundingDown(Good):
    def features(self, images, blocks):
        x = keras.layers.AveragePooling2D(16, name="pool")(images)
        return blocks.conv_bn(x, 8, 3, name="conv1", block=1)


class OfOneSize(Good):
    def between(self, x, blocks):
        return keras.layers.Resizing(16, 16, name="resize")(x)


class Compiled(Between):
    def call(self, x):
        return x * float(x.shape[1])  # known when it is called, unknown when it is compiled


class NeedingASize(Good):
    def between(self, x, blocks):
        return Compiled(name="scale")(x)


class Bottomless(Between):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], None)

    def call(self, x):
        return x


class OfUnknownDepth(Good):
    def features(self, images, blocks):
        return Bottomless(name="deep")(super().features(images, blocks))


class OfAMap(Good):
    def vector(self, x):
        return x


class DeafToDoubledCrops(Good):
    def head(self, rois, blocks):
        return self.vector(blocks.conv_bn(rois, 8, 3, name="head_conv", block=None))


class OfOneCrop(Good):
    def head(self, rois, blocks):
        return keras.layers.Reshape((8 * 49,), name="vector")(rois)


class InColour(Good):
    def features(self, images, blocks):
        images = keras.layers.Normalization(mean=[1, 2, 3], variance=[1, 1, 1], name="mean")(images)
        return super().features(images, blocks)


# Layers ---------------------------------------------------------------------------------------


class Repeating(Good):
    def vector(self, x):
        return keras.layers.Flatten(name="conv0")(x)


class Nameless(Good):
    def between(self, x, blocks):
        return keras.layers.ReLU()(x)


class OutOfNowhere(Good):
    def between(self, x, blocks):
        values = np.random.default_rng().normal(size=(1, 1, 4, 4))
        initializer = keras.initializers.Constant(values)
        return blocks.conv(x, 4, 1, name="random", block=0, initializer=initializer)


class WithAnIdTooMany(Good):
    freeze_ids = range(0, 3)


class WithIdsThatOverlap(Good):
    def between(self, x, blocks):
        frozen = bool(blocks.config.freeze_blocks)
        return keras.layers.Conv2D(4, 1, trainable=not frozen, name="either")(x)


class FrozenFromTheStart(Good):
    def between(self, x, blocks):
        return keras.layers.Conv2D(4, 1, trainable=False, name="stiff")(x)


class OnItsOwn(Good):
    """Draws with Keras what `blocks` would draw as the spec says."""

    def features(self, images, blocks):
        x = images
        for index, filters in enumerate((4, 8)):
            x = keras.layers.ZeroPadding2D(2, name=f"pad{index}")(x)
            x = keras.layers.Conv2D(filters, 5, 4, use_bias=False, name=f"conv{index}")(x)
            x = keras.layers.BatchNormalization(name=f"norm{index}")(x)
        return x

    def head(self, rois, blocks):
        return self.vector(rois)


class SecretlyDropping(Good):
    def between(self, x, blocks):
        return blocks.dropout(x, name="drop")


class Boasting(Good):
    honours = frozenset({"use_pooling"})


class KeepingNothing(Good):
    unprunable = ("conv7",)


def with_plan(*units, error=None, **fields):
    """A backbone whose weights come from keras.applications in these units."""

    def import_plan(self, variant, library):
        if library != "keras":
            return Good.import_plan(self, variant, library)
        if error:
            raise error
        return ImportPlan(units=units, images=DARKNET, **fields)

    return type("Imported", (Good,), {"import_plan": import_plan})


UNITS = (
    Unit("conv0", "conv0_bn", "a", "a_bn"),
    Unit("conv1", "conv1_bn", "b", "b_bn"),
    Unit("head_conv", "head_conv_bn", "c", "c_bn"),
)


# Training -------------------------------------------------------------------------------------


class CutOff(Good):
    def between(self, x, blocks):
        return keras.ops.stop_gradient(x)


class Dead(Good):
    def between(self, x, blocks):
        branch = blocks.conv(x, 4, 1, name="branch", block=0)
        return x + 0.0 * branch


class Infinite(Good):
    def between(self, x, blocks):
        return keras.ops.sqrt(x)  # of the zeros after a ReLU: its slope there is infinite


class Alike(Between):
    """Noise that no seed decides."""

    def call(self, x, training=False):
        return x + float.fromhex("0x" + os.urandom(3).hex()) / 2**24 if training else x


class Unrepeatable(Good):
    def between(self, x, blocks):
        return Alike(name="noise")(x)


class Overflowing(Good):
    def between(self, x, blocks):
        return (x * 1e6) * 1e-6


class StillByItself(Good):
    def features(self, images, blocks):
        import dataclasses

        blocks = type(blocks)(dataclasses.replace(blocks.config, freeze_bn=True))
        return super().features(images, blocks)


# Files ----------------------------------------------------------------------------------------


class Factor(Between):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "factor"}

    def call(self, x):
        return self.factor * x


class Forgetful(Good):
    """The factor is not in the layer's config."""

    def between(self, x, blocks):
        return Factor(2.0, name="factor")(x)

    def custom_layers(self):
        return {"Factor": Factor}


class Unknown(Good):
    """No `custom_layers`."""

    def between(self, x, blocks):
        return Factor(name="factor")(x)


# Quantization ---------------------------------------------------------------------------------


class Moody(Between):
    """Whose copies compute something else: it is not made of its config alone."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Moody.made += 1
        self.factor = float(Moody.made)

    def call(self, x):
        return self.factor * x


class Doubled(Good):
    def between(self, x, blocks):
        return Moody(name="mood")(x)

    def custom_layers(self):
        return {"Moody": Moody}


class Switched(Good):
    """A layer that makes nothing but zeros."""

    def between(self, x, blocks):
        return keras.layers.Rescaling(0.0, name="off")(x)


def contract_of(component, **fields):
    return type("Contract", (BackboneContract,), {"backbone": component, **fields})


BROKEN = {
    "test_importing_the_plugin_leaves_tensorflow_alone": [Good],  # this module imports Keras
    "test_the_stride_is_16_for_any_image_size": [OfStride8, RoundingDown, OfOneSize],
    "test_one_graph_takes_images_of_any_size": [OfOneSize, NeedingASize],
    "test_the_number_of_feature_channels_is_known": [OfUnknownDepth],
    "test_the_head_gives_one_vector_per_roi": [OfAMap],
    "test_the_head_takes_crops_of_another_size": [OfOneCrop, OfAMap],
    "test_the_head_halves_crops_of_twice_the_size": [DeafToDoubledCrops],
    "test_grayscale_images_are_accepted": [InColour],
    "test_no_two_layers_have_one_name": [Repeating],
    "test_the_same_seed_draws_the_same_layers_and_weights": [Nameless, OutOfNowhere],
    "test_each_freeze_id_freezes_layers_of_its_own": [
        WithAnIdTooMany,
        WithIdsThatOverlap,
        FrozenFromTheStart,
    ],
    "test_use_bias_gives_convolutions_a_bias_and_renames_no_layer": [OnItsOwn],
    "test_every_convolution_and_dense_kernel_is_regularized": [OnItsOwn],
    "test_fields_it_does_not_honour_leave_the_graph_as_it_is": [SecretlyDropping],
    "test_fields_it_honours_change_the_graph_of_some_variant": [Boasting],
    "test_unprunable_names_layers": [KeepingNothing],
    "test_an_import_plan_covers_each_layer_with_weights_once_or_is_refused": [
        with_plan(*UNITS[:2]),
        with_plan(*UNITS, UNITS[0]),
        with_plan(*UNITS, Unit("conv7", their_layer="d")),
        with_plan(UNITS[0], UNITS[1], Unit("head_conv", "head_conv_bn", "a", "c_bn")),
        with_plan(*UNITS, model_config={"use_poling": True}),
        with_plan(error=KeyError("variant")),
    ],
    "test_freeze_bn_keeps_the_statistics_and_trains_gamma_and_beta": [OnItsOwn],
    "test_without_freeze_bn_the_statistics_move": [StillByItself],
    "test_the_gradient_reaches_every_layer": [CutOff, Dead, Infinite],
    "test_what_is_random_in_training_follows_from_the_seed": [Unrepeatable],
    "test_mixed_precision_stays_finite_and_close": [Overflowing],
    "test_quantization_aware_training_changes_nothing_but_by_rounding": [Doubled, Switched],
    "test_config_and_weights_restore_the_same_function": [Forgetful, Unknown],
}


TESTED_ELSEWHERE = {
    "test_it_describes_itself_in_one_line",  # with the schedules
    "test_its_options_are_a_frozen_dataclass_of_types_that_text_can_give",
    "test_running_it_with_folded_convolutions_gives_the_same",  # below
    "test_channels_can_be_pruned",
}


def test_there_is_a_broken_backbone_for_every_check():
    checks = {name for name in dir(BackboneContract) if name.startswith("test_")}
    assert checks == BROKEN.keys() | TESTED_ELSEWHERE


@pytest.mark.slow
def test_a_good_backbone_passes(failures):
    # But for a plugin's module, this one imports Keras.
    assert set(failures(contract_of(Good()))) == {"importing the plugin leaves tensorflow alone"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "check, broken",
    [
        pytest.param(check, broken, id=f"{check}-{broken.__name__}")
        for check, all_broken in BROKEN.items()
        for broken in all_broken
    ],
)
def test_a_broken_one_fails(failures, check, broken):
    assert failures(contract_of(broken()), check)


@pytest.mark.slow
def test_a_plan_that_covers_all_passes(failures):
    (check,) = [name for name in BROKEN if "import_plan" in name]
    assert failures(contract_of(with_plan(*UNITS)()), check) == {}


@pytest.mark.slow
def test_folding_that_computes_something_else_fails(failures, monkeypatch):
    from frcnn_core.detector import folding

    check = "test_running_it_with_folded_convolutions_gives_the_same"
    assert failures(contract_of(Good()), check) == {}
    monkeypatch.setattr(folding, "run", lambda model, x, training: 1.01 * model(x))
    assert len(failures(contract_of(Good()), check)) == 2


@pytest.mark.slow
def test_a_backbone_may_always_drop_out(failures):
    class Dropping(Good):
        def between(self, x, blocks):
            return keras.layers.Dropout(0.5, name="drop")(x)

    found = failures(contract_of(Dropping()))
    assert set(found) == {"importing the plugin leaves tensorflow alone"}


@pytest.mark.slow
def test_only_some_variants_are_tested_if_so_wished(failures):
    class Two(Good):
        variants = ("s", "l")

        def features(self, images, blocks):
            if blocks.config.variant == "l":
                raise RuntimeError("too large")
            return super().features(images, blocks)

    check = "test_the_head_gives_one_vector_per_roi"
    assert failures(contract_of(Two(), only_variants=("s",)), check) == {}
    (reason,) = failures(contract_of(Two()), check).values()
    assert reason.startswith("RuntimeError: too large\nat ")
