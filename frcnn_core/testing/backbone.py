"""What every backbone must do."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from frcnn_core.components import Backbone
from frcnn_core.testing.component import ComponentContract

OPTIONAL_FIELDS = {
    "use_pooling": (False, True),
    "all_projections": (False, True),
    "dropout_rate": (0.0, 0.25),
    "drop_connect_rate": (0.0, 0.25),
    "activation": ("", "relu"),
}
"""Fields of ``model_config`` that only some families honour, with two values to compare."""


class Parts(NamedTuple):
    """A backbone drawn as the two models the detector makes of it."""

    features: Any
    """Images (B, H, W, C) to feature maps."""
    head: Any
    """Pooled RoIs (B*R, S, S, C) to vectors (B*R, D)."""

    @property
    def layers(self) -> list:
        return [*self.features.layers, *self.head.layers]


class BackboneContract(ComponentContract):
    """Subclass as ``class TestTinyNet(BackboneContract): backbone = TinyNet()``."""

    backbone: Backbone

    slow_variants: ClassVar[tuple[str, ...]] = ()
    """Variants whose tests get pytest's mark ``slow``."""

    @property
    def component(self) -> Backbone:
        return self.backbone

    def pytest_generate_tests(self, metafunc):
        if "variant" in metafunc.fixturenames:
            variants = [
                pytest.param(variant, marks=pytest.mark.slow)
                if variant in self.slow_variants
                else variant
                for variant in self._variants()
            ]
            # Of class scope, so that the tests of one variant follow each other and share `parts`.
            metafunc.parametrize("variant", variants, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def parts(cls, variant) -> Parts:
        """The variant with default options, for tests that leave it as it is."""
        return cls().draw(variant)

    def draw(self, variant: str, *, channels: int = 3, **config: Any) -> Parts:
        """The backbone as the detector would draw it.

        Args:
            variant: one of the backbone's variants, or "".
            channels: of the images.
            config: fields of ``BackboneConfig``.
        """
        from frcnn_core.layers import BackboneConfig, draw_backbone

        drawn = BackboneConfig(variant=variant, options=self.options(), **config)
        return Parts(*draw_backbone(self.backbone, drawn, channels=channels))

    @pytest.mark.parametrize("height, width", [(128, 128), (129, 145)])
    def test_the_stride_is_16_for_any_image_size(self, variant, parts, height, width):
        cells = parts.features(np.zeros((1, height, width, 3), "float32")).shape[1:3]
        assert tuple(cells) == (math.ceil(height / 16), math.ceil(width / 16))

    def test_the_number_of_feature_channels_is_known(self, variant, parts):
        assert parts.features.output.shape[-1] is not None

    @pytest.mark.parametrize("pool_size_2x", [False, True])
    def test_the_head_gives_one_vector_per_roi(self, variant, pool_size_2x):
        head = self.draw(variant, pool_size_2x=pool_size_2x).head
        assert len(head.output.shape) == 2
        rois = np.zeros((3, *head.input.shape[1:]), "float32")
        assert tuple(head(rois).shape) == (3, head.output.shape[-1])

    def test_grayscale_images_are_accepted(self, variant):
        features = self.draw(variant, channels=1).features
        assert features(np.zeros((1, 64, 64, 1), "float32")).shape[-1] == features.output.shape[-1]

    def test_layer_names_are_the_same_in_every_drawing(self, variant, parts):
        names = [layer.name for layer in parts.layers]
        assert names == [layer.name for layer in self.draw(variant).layers]

    def test_no_two_layers_have_one_name(self, variant, parts):
        names = [layer.name for layer in parts.layers]
        assert len(set(names)) == len(names)

    def test_each_freeze_id_freezes_layers_of_its_own(self, variant, parts):
        assert not _frozen(parts), "layers are frozen that no freeze id asked for"
        seen: set[str] = set()
        for block in self.backbone.freeze_ids:
            frozen = _frozen(self.draw(variant, freeze_blocks=frozenset({block})))
            assert frozen, f"freezing block {block} froze nothing"
            assert not frozen & seen, f"block {block} froze layers of another block"
            seen |= frozen

    def test_freeze_bn_keeps_the_statistics_and_trains_gamma_and_beta(self, variant):
        parts = self.draw(variant, freeze_bn=True)
        for model, norms, before in _statistics(parts):
            model(_noise(model), training=True)
            for norm, mean in zip(norms, before, strict=True):
                np.testing.assert_array_equal(norm.moving_mean.numpy(), mean, norm.name)
                assert len(norm.trainable_weights) == 2, f"{norm.name} does not train"

    def test_without_freeze_bn_the_statistics_move(self, variant):
        parts = self.draw(variant, freeze_bn=False)
        for model, norms, before in _statistics(parts):
            model(_noise(model), training=True)
            for norm, mean in zip(norms, before, strict=True):
                assert (norm.moving_mean.numpy() != mean).any(), f"{norm.name} is frozen"

    def test_the_gradient_reaches_every_weight(self, variant, parts):
        import tensorflow as tf

        for model in parts:
            with tf.GradientTape() as tape:
                outputs = model(_noise(model), training=True)
                loss = tf.reduce_mean(tf.square(outputs - 1.0))
            variables = [variable.value for variable in model.trainable_variables]
            gradients = tape.gradient(loss, variables)
            paths = [variable.path for variable in model.trainable_variables]
            cut_off = [p for p, g in zip(paths, gradients, strict=True) if g is None]
            assert not cut_off, f"no gradient reaches {cut_off}"
            assert np.abs(gradients[0].numpy()).max() > 0, f"{paths[0]} does not learn"

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_mixed_precision_stays_finite_and_close(self, variant, parts, policy):
        import keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            mixed_parts = self.draw(variant)
        finally:
            keras.config.set_dtype_policy(before)
        for exact, mixed in zip(parts, mixed_parts, strict=True):
            mixed.set_weights(exact.get_weights())
            inputs = _noise(exact)
            expected = np.asarray(exact(inputs), "float32")
            answer = np.asarray(mixed(inputs), "float32")
            assert np.isfinite(answer).all()
            assert np.abs(answer - expected).max() <= 0.1 * np.abs(expected).max()

    def test_config_and_weights_restore_the_same_function(self, variant, parts):
        import keras

        for model in parts:
            copy = keras.models.model_from_json(
                model.to_json(), custom_objects=self.backbone.custom_layers()
            )
            copy.set_weights(model.get_weights())
            inputs = _noise(model)
            np.testing.assert_allclose(copy(inputs), model(inputs), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("training", [False, True])
    def test_running_it_with_folded_convolutions_gives_the_same(self, variant, training):
        from frcnn_core import folding

        for model, norms, _ in _statistics(self.draw(variant, freeze_bn=True)):
            random = np.random.default_rng(0)
            for norm in norms:
                for weight in norm.weights:
                    weight.assign(random.uniform(0.5, 1.5, weight.shape))
            inputs = _noise(model)
            expected = model(inputs, training=False).numpy()
            answer = folding.run(model, inputs, training=training).numpy()
            np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())

    def test_every_convolution_and_dense_kernel_is_regularized(self, variant):
        import keras

        parts = self.draw(variant, kernel_regularizer=keras.regularizers.L2(0.5))
        regularized = (keras.layers.Conv2D, keras.layers.Dense)
        without = [
            layer.name
            for layer in parts.layers
            if isinstance(layer, regularized) and layer.kernel_regularizer is None
        ]
        assert not without, f"the spec's regularizer does not reach {without}"

    def test_fields_it_does_not_honour_leave_the_graph_as_it_is(self, variant):
        for field in OPTIONAL_FIELDS.keys() - self.backbone.honours:
            assert not self._changes(variant, field), (
                f"{field} changes the graph: add it to honours"
            )

    def test_fields_it_honours_change_the_graph_of_some_variant(self):
        for field in self.backbone.honours:
            assert any(self._changes(variant, field) for variant in self._variants()), (
                f"{field} is among honours and changes nothing"
            )

    def test_unprunable_names_layers(self):
        names: set[str] = set()
        for variant in self._variants() if self.backbone.unprunable else ():
            names |= {layer.name for layer in self.draw(variant).layers}
        assert set(self.backbone.unprunable) <= names

    def _variants(self) -> tuple[str, ...]:
        return self.backbone.variants or ("",)

    def _changes(self, variant: str, field: str) -> bool:
        first, second = (
            [
                json.dumps(part.get_config(), default=str)
                for part in self.draw(variant, **{field: value})
            ]
            for value in OPTIONAL_FIELDS[field]
        )
        return first != second


def _frozen(parts: Parts) -> set[str]:
    return {layer.name for layer in parts.layers if not layer.trainable}


def _statistics(parts: Parts) -> list[tuple]:
    """Of each model: itself, its normalisation layers, and their moving means as they are now."""
    import keras

    found = []
    for model in parts:
        norms = [
            layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
        found.append((model, norms, [norm.moving_mean.numpy() for norm in norms]))
    return found


def _noise(model: Any) -> np.ndarray:
    """Two inputs of unit variance; 64 by 64 pixels where the size is free."""
    shape = [2, *(64 if side is None else side for side in model.input.shape[1:])]
    return np.random.default_rng(0).standard_normal(shape, "float32")
