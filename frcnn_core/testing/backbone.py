"""What every backbone must do."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import Backbone, ImportPlan
from frcnn_core.plugin.import_plan import LIBRARIES
from frcnn_core.plugin.options import parse
from frcnn_core.testing.component import ComponentContract
from frcnn_core.testing.parts import (
    SEED,
    Parts,
    assert_close,
    assert_vectors,
    frozen_layers,
    gradients_of,
    moved,
    noise,
    noise_for,
    norms,
    put_back,
    round_kernels,
    statistics,
    stir,
    without_bias,
)

OPTIONAL_FIELDS = {
    "use_pooling": True,
    "all_projections": False,
    "dropout_rate": 0.25,
    "drop_connect_rate": 0.25,
    "activation": "relu",
}
"""Fields of ``model_config`` that only some families honour, with a value other than usual."""

TINY = 1e-6
"""What float16 does not tell from 0.  A signal can fade to that where no batch was seen yet."""

RATES = ("dropout_rate", "drop_connect_rate")
"""Those that make training random."""


class BackboneContract(ComponentContract):
    """Subclass as ``class TestTinyNet(BackboneContract): backbone = TinyNet()``."""

    backbone: Backbone

    only_variants: ClassVar[tuple[str, ...]] = ()
    """Variants to test; all of them unless given."""

    slow_variants: ClassVar[tuple[str, ...]] = ()
    """Variants whose tests get pytest's mark ``slow``."""

    @property
    def component(self) -> Backbone:
        return self.backbone

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "variant" in metafunc.fixturenames:
            variants = [
                pytest.param(variant, marks=pytest.mark.slow)
                if variant in self.slow_variants
                else variant
                for variant in self.only_variants or self._variants()
            ]
            # Of class scope, so that the tests of one variant follow each other and share `parts`.
            metafunc.parametrize("variant", variants, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def parts(cls, variant: str) -> Parts:
        """The variant with default options, for tests that leave it as it is."""
        return cls().draw(variant)

    @pytest.fixture(scope="class")
    @classmethod
    def fixed(cls, variant: str) -> Parts:
        """The same with ``freeze_bn``, and with gammas, betas and statistics all different.

        Not by much: a deep network would blow up rounding together with the signal.
        """
        parts = cls().draw(variant, freeze_bn=True)
        random = np.random.default_rng(SEED)
        for norm in norms(parts):
            for weight in norm.weights:
                weight.assign(weight + random.uniform(-0.1, 0.1, weight.shape))
        return parts

    def draw(self, variant: str, *, channels: int = 3, **config: Any) -> Parts:
        """The backbone as the detector would draw it, with the weights of ``SEED``.

        Args:
            variant: one of the backbone's variants, or "".
            channels: of the images.
            config: fields of ``BackboneConfig``.
        """
        import keras

        from frcnn_core.detector import BackboneConfig, draw_backbone

        drawn = BackboneConfig(**{"variant": variant, "options": self.options()} | config)
        keras.utils.set_random_seed(SEED)
        return Parts(*draw_backbone(self.backbone, drawn, channels=channels))

    def sketch(self, variant: str, **given: Any) -> Parts:
        """``draw`` without weights: much cheaper, for what can be read off the graph."""
        from frcnn_core.testing.sketch import sketch

        return sketch(lambda: self.draw(variant, **given))

    # Shapes

    @pytest.mark.parametrize("height, width", [(128, 128), (129, 145)])
    def test_the_stride_is_16_for_any_image_size(
        self, variant: str, parts: Parts, height: int, width: int
    ) -> None:
        cells = tuple(parts.features(np.zeros((1, height, width, 3), "float32")).shape[1:3])
        expected = (math.ceil(height / 16), math.ceil(width / 16))
        assert cells == expected, f"the map has {cells} cells, not {expected}"

    def test_one_graph_takes_images_of_any_size(self, variant: str, parts: Parts) -> None:
        import tensorflow as tf

        from frcnn_core.detector import folding

        left_open = tuple(parts.features.output.shape[1:3])
        assert left_open == (None, None), f"the map's size is fixed to {left_open}"
        # As detection, validation and exports run it.
        compiled = tf.function(
            lambda images: folding.run(parts.features, images, training=False),
            input_signature=[tf.TensorSpec((None, None, None, 3))],
            autograph=False,
        )
        for height, width in ((64, 96), (81, 65)):
            images = noise((1, height, width, 3))
            assert_close(compiled(images), parts.features(images), 1e-3)

    def test_the_number_of_feature_channels_is_known(self, variant: str, parts: Parts) -> None:
        assert parts.features.output.shape[-1] is not None, "the head cannot be drawn without it"

    def test_the_head_gives_one_vector_per_roi(self, variant: str, parts: Parts) -> None:
        head = parts.head
        assert_vectors(head)
        rois = np.zeros((3, *head.input.shape[1:]), "float32")
        assert tuple(head(rois).shape) == (3, head.output.shape[-1])

    def test_the_head_takes_crops_of_another_size(self, variant: str) -> None:
        assert_vectors(self.sketch(variant, pool_size=4).head)

    def test_the_head_halves_crops_of_twice_the_size(self, variant: str, parts: Parts) -> None:
        doubled = self.sketch(variant, pool_size_2x=True).head
        assert doubled.input.shape[1:3] == (14, 14)
        ends, usual = doubled.output.shape, parts.head.output.shape
        assert ends == usual, f"with pool_size_2x it ends in {ends}, and without in {usual}"

    def test_grayscale_images_are_accepted(self, variant: str, parts: Parts) -> None:
        gray = self.sketch(variant, channels=1).features
        assert gray.output.shape == parts.features.output.shape, "they make another map"

    # Layers

    def test_no_two_layers_have_one_name(self, variant: str, parts: Parts) -> None:
        assert not _repeated(parts.names), "a weights file could not tell them apart"

    def test_the_same_seed_draws_the_same_layers_and_weights(
        self, variant: str, parts: Parts
    ) -> None:
        again = self.draw(variant)
        renamed = [pair for pair in zip(parts.names, again.names, strict=True) if len({*pair}) > 1]
        assert not renamed, "a layer without a name of its own gets another one in every drawing"
        different = [
            one.path
            for first, second in zip(parts, again, strict=True)
            for one, other in zip(first.weights, second.weights, strict=True)
            if not np.array_equal(one, other)
        ]
        assert not different, "weights do not follow from the seed"

    def test_each_freeze_id_freezes_layers_of_its_own(self, variant: str, parts: Parts) -> None:
        assert not frozen_layers(parts), "layers are frozen that no freeze id asked for"
        seen: set[str] = set()
        for block in self.backbone.freeze_ids:
            frozen = frozen_layers(self.sketch(variant, freeze_blocks=frozenset({block})))
            assert frozen, f"freezing block {block} froze nothing"
            assert not frozen & seen, f"block {block} froze layers of another block"
            seen |= frozen

    def test_use_bias_gives_convolutions_a_bias_and_renames_no_layer(self, variant: str) -> None:
        plain, biased = self.sketch(variant), self.sketch(variant, use_bias=True)
        assert biased.names == plain.names
        without = without_bias(plain)
        assert not without or without - without_bias(biased), "use_bias gives none of them a bias"

    def test_every_convolution_and_dense_kernel_is_regularized(self, variant: str) -> None:
        import keras

        parts = self.sketch(variant, kernel_regularizer=keras.regularizers.L2(0.5))
        regularized = (keras.layers.Conv2D, keras.layers.Dense)
        without = [
            layer.name
            for layer in parts.layers
            if isinstance(layer, regularized) and layer.kernel_regularizer is None
        ]
        assert not without, "the spec's regularizer does not reach them"

    def test_fields_it_does_not_honour_leave_the_graph_as_it_is(self, variant: str) -> None:
        ignored = OPTIONAL_FIELDS.keys() - self.backbone.honours
        changing = self._changing(variant, ignored)
        assert not changing, "they change the graph: add them to honours"

    def test_fields_it_honours_change_the_graph_of_some_variant(self) -> None:
        left = set(self.backbone.honours)
        for variant in self._variants():
            left -= self._changing(variant, left)
        assert not left, "they are among honours and change nothing"

    def test_unprunable_names_layers(self) -> None:
        left = set(self.backbone.unprunable)
        for variant in self._variants():
            left -= set(self.sketch(variant).names) if left else set()
        assert not left, "no variant has such layers"

    def test_channels_can_be_pruned(self, variant: str, fixed: Parts) -> None:
        """Half of every channel group goes; what is left computes what the whole network does
        where nothing reads the others."""
        import keras

        from frcnn_core.pruning import find_channels, positions, rebuild

        # In a detector, predictors read the head's vector.
        read = keras.layers.Dense(3, name="predictor_of_the_contract")(fixed.head.output)
        parts = {"features": fixed.features, "head": keras.Model(fixed.head.input, read)}
        channels = find_channels(parts, fixed=self.backbone.unprunable)
        # At random: layers that should lose the same channels, and do not, add up other numbers.
        random = np.random.default_rng(SEED)
        keep = {
            group: np.sort(random.permutation(group.size)[: (group.size + 1) // 2])
            for group in channels.groups
            if group.prunable
        }
        assert keep, {group.layers: group.reason for group in channels.groups}
        pruned = rebuild(parts, channels, keep, custom_layers=self.backbone.custom_layers())
        left = positions(channels.inputs[f"head/{parts['head'].layers[0].name}"], keep)

        whole = {name: self._rebuilt(part, "float32") for name, part in parts.items()}
        for path in channels.inputs.keys() & channels.outputs.keys():
            name, *inner = path.split("/")
            layer = whole[name]
            for step in inner:
                layer = layer.get_layer(step)
            if layer.weights:
                kernel, rows = layer.kernel, positions(channels.inputs[path], keep)
                gone = np.setdiff1d(np.arange(kernel.shape[-2]), rows)
                values = kernel.numpy()
                values[..., gone, :] = 0
                kernel.assign(values)

        images, crops = map(noise_for, parts.values())
        for answer, expected in (
            (pruned["features"](images), np.asarray(whole["features"](images))[..., left]),
            (pruned["head"](crops[..., left]), whole["head"](crops)),
        ):
            assert np.abs(expected).max() > 0, "no signal comes through"
            assert_close(answer, expected, 1e-3)

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_an_import_plan_covers_each_layer_with_weights_once_or_is_refused(
        self, variant: str, library: str
    ) -> None:
        try:
            plan = self.backbone.import_plan(variant, library)
        except ModelFileError as refusal:
            assert str(refusal), "a refusal has to say why"
            return
        assert isinstance(plan, ImportPlan)
        given = {**self.given, **plan.backbone_options}
        options: Any = parse(self._options_type(), given, where="plan")
        parts = self.sketch(variant, options=options, **plan.model_config)
        covered = [name for unit in plan.units for name in (unit.layer, unit.norm) if name]
        theirs = [name for unit in plan.units for name in (unit.their_layer, unit.their_norm)]
        assert not _repeated(covered), "they would be filled twice"
        assert not _repeated(name for name in theirs if name), "they would be used twice"
        weighted = {layer.name for layer in parts.layers if layer.weights}
        assert not weighted - set(covered), "layers with weights that the plan leaves out"
        assert not set(covered) - weighted, "the plan names what is no layer with weights"

    # Training

    def test_freeze_bn_keeps_the_statistics_and_trains_gamma_and_beta(
        self, variant: str, fixed: Parts
    ) -> None:
        before = statistics(fixed)
        for model in fixed:
            model(noise_for(model), training=True)
        assert not moved(fixed, before), "their statistics moved"
        stiff = [norm.name for norm in norms(fixed) if len(norm.trainable_weights) < 2]
        assert not stiff, "their gamma and beta do not train"

    def test_without_freeze_bn_the_statistics_move(self, variant: str, parts: Parts) -> None:
        with put_back(parts):
            before = statistics(parts)
            for model in parts:
                model(noise_for(model), training=True)
            still = before.keys() - moved(parts, before)
            assert not still, "their statistics stayed as they were"

    def test_the_gradient_reaches_every_layer(self, variant: str, parts: Parts) -> None:
        with put_back(parts):
            stir(parts)
            for model in parts:
                found = gradients_of(model)
                gradients = {path: value for path, value in found.items() if value is not None}
                cut_off = [path for path in found if path not in gradients]
                assert not cut_off, "no gradient reaches them"
                broken = [path for path, value in gradients.items() if not np.isfinite(value).all()]
                assert not broken, "their gradient is no finite number"
                dead = [
                    layer.name
                    for layer in model.layers
                    if layer.trainable_variables
                    and not any(gradients[v.path].any() for v in layer.trainable_variables)
                ]
                assert not dead, "they do not learn: every gradient is 0"

    def test_what_is_random_in_training_follows_from_the_seed(
        self, variant: str, parts: Parts
    ) -> None:
        import keras

        rates: dict[str, Any] = dict.fromkeys(self.backbone.honours & set(RATES), 0.25)
        parts = self.draw(variant, **rates) if rates else parts
        for model in parts:
            answers = []
            for _ in range(2):
                with put_back(parts):
                    keras.utils.set_random_seed(SEED)
                    answers.append(model(noise_for(model), training=True))
            assert_close(answers[0], answers[1], 1e-4)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_mixed_precision_stays_finite_and_close(
        self, variant: str, parts: Parts, policy: str
    ) -> None:
        for exact in parts:
            mixed = self._rebuilt(exact, policy)
            inputs = noise_for(exact)
            answer = np.asarray(mixed(inputs), "float32")
            assert np.isfinite(answer).all(), "too large for it"
            assert_close(answer, exact(inputs), 0.1, at_least=TINY)

    def test_quantization_aware_training_changes_nothing_but_by_rounding(
        self, variant: str, fixed: Parts
    ) -> None:
        """With kernels that are on their grids already, and ranges that let all through."""
        from frcnn_core.quantization import quantize, quantizers

        for name, model in zip(("features", "head"), fixed, strict=True):
            inputs, exact = noise_for(model), self._rebuilt(model, "float32")
            (copy,) = quantize({name: exact}).values()
            round_kernels(exact, copy)
            assert_close(copy(inputs), exact(inputs), 1e-3)
            copy(inputs, training=True)
            unseen = [
                layer.name
                for layer in quantizers({name: copy})
                if not 0 < float(layer.range.value) < np.inf
            ]
            assert not unseen, "they see zeros only, or what is no finite number"

    # Files and speed

    def test_config_and_weights_restore_the_same_function(self, variant: str, parts: Parts) -> None:
        for model in parts:
            inputs = noise_for(model)
            assert_close(self._rebuilt(model, "float32")(inputs), model(inputs), 1e-5)

    @pytest.mark.parametrize("training", [False, True])
    def test_running_it_with_folded_convolutions_gives_the_same(
        self, variant: str, fixed: Parts, training: bool
    ) -> None:
        from frcnn_core.detector import folding

        for model in fixed:
            inputs = noise_for(model)
            with put_back(fixed):
                expected = model(inputs, training=training)
            with put_back(fixed):  # with the same random numbers
                answer = folding.run(model, inputs, training=training)
            assert_close(answer, expected, 1e-4)

    def _variants(self) -> tuple[str, ...]:
        return self.backbone.variants or ("",)

    def _changing(self, variant: str, fields: set[str]) -> set[str]:
        """Those of ``OPTIONAL_FIELDS`` that change the variant's graph."""
        usual = self._graph(variant) if fields else ""
        return {
            field
            for field in fields
            if self._graph(variant, **{field: OPTIONAL_FIELDS[field]}) != usual
        }

    def _graph(self, variant: str, **config: Any) -> str:
        parts = self.sketch(variant, **config)
        return json.dumps([part.get_config() for part in parts], default=str)

    def _rebuilt(self, model: Any, policy: str) -> Any:
        """The model as frcnn loads it from a file, in another precision."""
        import keras

        from frcnn_core.model_files import with_precision

        copy = keras.models.model_from_json(
            with_precision(model.to_json(), policy), custom_objects=self.backbone.custom_layers()
        )
        for variable, source in zip(copy.weights, model.weights, strict=True):
            variable.assign(source)
        return copy


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
