"""GoogLeNet against the paper's table 1 and published parameter counts."""

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_googlenet import GoogLeNet

pytestmark = pytest.mark.conformance

IN_FEATURES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e")
IN_HEAD = ("5a", "5b")
CONVOLUTIONS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")


def drawn(**config):
    """Features and head."""
    return draw_backbone(GoogLeNet(), BackboneConfig(**config))


def names(*models, kind):
    return [layer.name for model in models for layer in model.layers if isinstance(layer, kind)]


def kernels(*models):
    """Kernel of each convolution."""
    layers = [layer for model in models for layer in model.layers]
    return {c.name: c.kernel for c in layers if isinstance(c, keras.layers.Conv2D)}


def test_layers_are_called_as_in_tlt():
    features, head = drawn()
    for part, stem, modules in (
        (features, ["conv1", "conv2_reduce", "conv2"], IN_FEATURES),
        (head, [], IN_HEAD),
    ):
        inside = [f"inception_{module}_{name}" for module in modules for name in CONVOLUTIONS]
        assert sorted(names(part, kind=keras.layers.Conv2D)) == sorted(stem + inside)
        norms = [f"bn_{name}" for name in stem] + [f"{name}_bn" for name in inside]
        assert sorted(names(part, kind=keras.layers.BatchNormalization)) == sorted(norms)
        outputs = [f"inception_{module}_output" for module in modules]
        assert names(part, kind=keras.layers.Concatenate) == outputs
        pools = [f"inception_{module}_pool" for module in modules]
        between = ["pool1", "pool2", "pool3"] if part is features else []
        assert sorted(names(part, kind=keras.layers.MaxPooling2D)) == sorted(between + pools)


@pytest.mark.parametrize(
    "layer, size",
    [
        ("conv1", (112, 112, 64)),
        ("pool1", (56, 56, 64)),
        ("conv2", (56, 56, 192)),
        ("pool2", (28, 28, 192)),
        ("inception_3a_output", (28, 28, 256)),
        ("inception_3b_output", (28, 28, 480)),
        ("pool3", (14, 14, 480)),
        ("inception_4a_output", (14, 14, 512)),
        ("inception_4b_output", (14, 14, 512)),
        ("inception_4c_output", (14, 14, 512)),
        ("inception_4d_output", (14, 14, 528)),
        ("inception_4e_output", (14, 14, 832)),
    ],
)
def test_output_sizes_are_those_of_the_papers_table(layer, size):
    features, _ = drawn()
    to_layer = keras.Model(features.input, features.get_layer(layer).output)
    assert to_layer.compute_output_shape((1, 224, 224, 3)) == (1, *size)


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_the_head_is_5a_and_5b_after_a_pool_of_doubled_rois(pool_size_2x):
    features, head = drawn(pool_size_2x=pool_size_2x)
    assert features.output.shape[-1] == 832
    assert head.input.shape[1:3] == ((14, 14) if pool_size_2x else (7, 7))
    assert ("pool4" in names(head, kind=keras.layers.MaxPooling2D)) == pool_size_2x
    for module, filters in (("5a", 832), ("5b", 1024)):
        assert head.get_layer(f"inception_{module}_output").output.shape[1:] == (7, 7, filters)
    assert head.output.shape == (None, 1024)


def test_convolutions_have_as_many_parameters_as_published():
    """6 998 552 of the Caffe model, less its classifier of 1024 x 1000 + 1000."""
    published = 6_998_552 - 1_025_000
    layers = [layer for part in drawn(use_bias=True) for layer in part.layers]
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(layer.count_params() for layer in convolutions) == published


def test_with_normalizations_it_has_as_many_parameters_as_torchvisions_plus_a_known_difference():
    """Torchvision's 6 624 904 less the same classifier, plus statistics of 7 280 channels, which it
    does not count, plus 5x5 - 3x3 = 16 taps for each pair of channels of the third branch."""
    pairs = sum(a * b for a, b in ((16, 32), (32, 96), (16, 48), (24, 64), (24, 64)))
    pairs += sum(a * b for a, b in ((32, 64), (32, 128), (32, 128), (48, 128)))
    expected = 6_624_904 - 1_025_000 + 2 * 7_280 + 16 * pairs
    assert sum(part.count_params() for part in drawn()) == expected


@pytest.mark.parametrize(
    "module, inputs, filters",
    [
        ("3a", 192, (64, 96, 128, 16, 32, 32)),
        ("3b", 256, (128, 128, 192, 32, 96, 64)),
        ("4a", 480, (192, 96, 208, 16, 48, 64)),
        ("4b", 512, (160, 112, 224, 24, 64, 64)),
        ("4c", 512, (128, 128, 256, 24, 64, 64)),
        ("4d", 512, (112, 144, 288, 32, 64, 64)),
        ("4e", 528, (256, 160, 320, 32, 128, 128)),
        ("5a", 832, (256, 160, 320, 32, 128, 128)),
        ("5b", 832, (384, 192, 384, 48, 128, 128)),
    ],
)
def test_kernels_of_a_module_follow_from_the_papers_table(module, inputs, filters):
    one, reduce_3, three, reduce_5, five, projection = filters
    found = kernels(*drawn())
    assert [found[f"inception_{module}_{name}"].shape for name in CONVOLUTIONS] == [
        (1, 1, inputs, one),
        (1, 1, inputs, reduce_3),
        (3, 3, reduce_3, three),
        (1, 1, inputs, reduce_5),
        (5, 5, reduce_5, five),
        (1, 1, inputs, projection),
    ]


def test_the_branches_are_side_by_side_in_the_papers_order():
    features, _ = drawn()
    for layer in features.layers:
        if layer.weights and layer.name.startswith("inception_3a"):
            layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    for number, branch in enumerate(("1x1", "3x3", "5x5", "pool_proj"), start=1):
        norm = features.get_layer(f"inception_3a_{branch}_bn")
        norm.beta.assign(np.full(norm.beta.shape, number))
    to_3a = keras.Model(features.input, features.get_layer("inception_3a_output").output)
    answer = to_3a(np.zeros((1, 8, 8, 3), "float32")).numpy().ravel()
    assert answer.tolist() == [1] * 64 + [2] * 128 + [3] * 32 + [4] * 32


def test_freeze_ids_are_the_stem_and_one_module_each():
    assert list(GoogLeNet.freeze_ids) == [0, 1, 2, 3, 4, 5, 6, 7]
    stem = {"conv1", "conv2_reduce", "conv2"}
    modules = [{f"inception_{module}_{name}" for name in CONVOLUTIONS} for module in IN_FEATURES]
    for block, expected in enumerate([stem, *modules]):
        features, head = drawn(freeze_blocks=frozenset({block}))
        assert {layer.name for layer in features.layers if not layer.trainable} == expected
        assert all(layer.trainable for layer in head.layers)


@pytest.mark.parametrize(
    "library, reason",
    [("torchvision", "3x3 convolutions in place of the 5x5"), ("keras", "has no GoogLeNet")],
)
def test_it_says_why_no_public_weights_fit(library, reason):
    with pytest.raises(ModelFileError, match=reason):
        GoogLeNet().import_plan("", library)
