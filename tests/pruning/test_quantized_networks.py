"""Random networks with fake quantization: pruned as without, and the same but for rounding.

Pruning a quantized network has to give what quantizing the pruned network gives, layer by layer and
weight by weight; how networks without quantization are pruned is tested against masks.
"""

import random

import keras
import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from keras.src.models.functional import Functional
from random_networks import SIDE, detector, some_channels

from frcnn_core.detector import folding
from frcnn_core.detector.quantized_layers import QUANTIZED, QuantizedKernel
from frcnn_core.pruning import find_channels, rebuild
from frcnn_core.quantization import quantize, quantizers, ranges

EXAMPLES = settings(max_examples=12, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**9)


def leaves(model, path):
    for layer in model.layers:
        if type(layer) is Functional:
            yield from leaves(layer, f"{path}/{layer.name}")
        else:
            yield f"{path}/{layer.name}", layer


def by_path(parts):
    return {path: layer for name, part in parts.items() for path, layer in leaves(part, name)}


def assert_same_weights(one, other):
    found, expected = by_path(one), by_path(other)
    assert found.keys() == expected.keys()
    for path, layer in found.items():
        for variable, twin in zip(layer.variables, expected[path].variables, strict=True):
            np.testing.assert_array_equal(variable, twin, err_msg=f"{path} {variable.name}")


def prunable(channels):
    return {frozenset(group.layers): group for group in channels.groups if group.prunable}


@pytest.mark.slow
@EXAMPLES
@given(SEEDS, st.booleans())
def test_pruning_and_quantizing_can_change_places(seed, per_channel):
    plain = detector(random.Random(seed))
    quantized = quantize(plain, per_channel_weights=per_channel)
    channels, theirs = find_channels(plain), find_channels(quantized)
    assert {n: g.size for n, g in prunable(theirs).items()} == {
        n: g.size for n, g in prunable(channels).items()
    }
    keep = some_channels(channels, seed)
    first = quantize(rebuild(plain, channels, keep), per_channel_weights=per_channel)
    same = {prunable(theirs)[frozenset(group.layers)]: indices for group, indices in keep.items()}
    assert_same_weights(rebuild(quantized, theirs, same), first)


@pytest.mark.slow
@EXAMPLES
@given(SEEDS, st.booleans())
def test_without_anything_to_round_a_quantized_network_computes_the_same(seed, per_channel):
    """Kernels on their grid stay as they are, and ranges that were never seen let all through."""
    plain = detector(random.Random(seed))
    quantized = quantize(plain, per_channel_weights=per_channel)
    kernels = by_path(quantized)
    for path, layer in by_path(plain).items():
        if type(layer) in QUANTIZED:
            layer.kernel.assign(kernels[path].rounded_kernel())
    images = np.random.default_rng(seed).standard_normal((2, SIDE, SIDE, 3), "float32")
    given = {"features": images}
    given["rpn"] = given["head"] = np.asarray(plain["features"](images))
    given["head"] = given["head"][:, :2, :2]
    for name, inputs in given.items():
        expected = keras.tree.flatten(plain[name](inputs))
        found = keras.tree.flatten(folding.run(quantized[name], inputs, training=False))
        for one, other in zip(found, expected, strict=True):
            scale = max(1.0, np.abs(other).max())
            np.testing.assert_allclose(one, other, atol=1e-4 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_pruned_detector_keeps_its_ranges_and_how_its_kernels_are_rounded(per_channel):
    parts = quantize(toy.detector().parts, per_channel_weights=per_channel)
    for number, layer in enumerate(quantizers(parts), start=1):
        layer.range.assign(number)
        layer.counter.assign(10 * number)
    channels = find_channels(parts)
    keep = {group: range(group.size // 2) for group in channels.groups if group.prunable}
    pruned = rebuild(parts, channels, keep)
    assert ranges(pruned).tensors == ranges(parts).tensors
    assert [q.counter.numpy() for q in quantizers(pruned)] == [
        q.counter.numpy() for q in quantizers(parts)
    ]
    conv = pruned["features"].get_layer("conv1")
    assert isinstance(conv, QuantizedKernel)
    assert (conv.per_channel, conv.kernel.shape) == (per_channel, (3, 3, 4, 4))
    assert len(ranges(pruned).kernels["features/conv1"].shape) == per_channel


@pytest.mark.slow
def test_a_quantized_depthwise_layer_loses_what_belongs_to_channels_that_go():
    x = keras.Input((4, 4, 3))
    y = layers.Conv2D(3, 1, name="a")(x)
    y = layers.Conv2D(2, 1, name="b")(layers.DepthwiseConv2D(3, name="wise")(y))
    parts = quantize({"features": keras.Model(x, y)})
    channels = find_channels(parts)
    (group,) = [group for group in channels.groups if group.prunable]
    assert group.layers == ("features/a",)
    pruned = rebuild(parts, channels, {group: [0, 2]})["features"]
    whole = parts["features"].get_layer("wise").kernel.numpy()
    np.testing.assert_array_equal(pruned.get_layer("wise").kernel, whole[:, :, [0, 2]])
