"""Networks drawn at random from what backbones are made of, and channels of them to keep.

All choices come from a ``random.Random``: Hypothesis draws its seed only, since examples that it
prefers to be simple have too few layers that have something to do with each other.
"""

from __future__ import annotations

import random

import keras
import numpy as np
from keras import layers

from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.pruning import Channels

SIDE = 4


def detector(choose: random.Random) -> dict[str, keras.Model]:
    """Features, RPN and head with random weights, statistics included."""
    images = keras.Input((SIDE, SIDE, 3))
    cells = _body(choose, images)
    depth = cells.shape[-1]
    feature_map = keras.Input((None, None, depth))
    x = _conv(feature_map, 4, activation="relu")
    crops = keras.Input((2, 2, depth))
    vector = choose.choice([layers.Flatten, layers.GlobalAveragePooling2D])()(_body(choose, crops))
    if choose.random() < 0.5:
        vector = layers.Dense(3, activation="relu")(vector)
    parts = {
        "features": keras.Model(images, cells),
        "rpn": keras.Model(feature_map, [_conv(x, 2), _conv(x, 8)]),
        "head": keras.Model(crops, [layers.Dense(3)(vector), layers.Dense(8)(vector)]),
    }
    randomize(parts, seed=choose.randrange(1000))
    return parts


def randomize(parts: dict[str, keras.Model], seed: int) -> None:
    """Give every weight a value of its own, so that no two channels are alike."""
    numbers = np.random.default_rng(seed)
    for part in parts.values():
        for weight in part.weights:
            low = 0.5 if "variance" in weight.name else -1.0
            weight.assign(numbers.uniform(low, 1.5, weight.shape))


def some_channels(channels: Channels, seed: int) -> dict:
    """Random channels of most groups, at least one of each."""
    numbers = np.random.default_rng(seed)
    keep = {}
    for group in channels.groups:
        if group.prunable and numbers.random() < 0.9:
            count = numbers.integers(1, group.size + 1)
            keep[group] = np.sort(numbers.permutation(group.size)[:count])
    return keep


def _body(choose: random.Random, x: keras.KerasTensor) -> keras.KerasTensor:
    """Some layers on a map; sides stay as they are, so that any two maps can be joined."""
    maps = [_conv(x, choose.randint(2, 4))]
    shared: dict[int, layers.Layer] = {}  # by the number of channels that it reads
    for _ in range(choose.randint(2, 8)):
        step = choose.choice(_STEPS)
        maps.append(step(choose, choose.choice(maps[-3:]), maps, shared))
    return maps[-1]


def _conv(x, filters, kernel=1, **options):
    return layers.Conv2D(filters, kernel, padding="same", **options)(x)


def _convolution(choose, x, maps, shared):
    activation = choose.choice([None, "relu", "sigmoid", "softmax"])
    return _conv(x, choose.randint(2, 4), choose.choice([1, 3]), activation=activation)


def _normalized(choose, x, maps, shared):
    kind = choose.choice([layers.BatchNormalization, BatchNormalization])
    return layers.Activation("relu")(kind()(_conv(x, choose.randint(2, 4))))


def _depthwise(choose, x, maps, shared):
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=choose.random() < 0.5)(x)
    return BatchNormalization()(x)


def _pooled(choose, x, maps, shared):
    kind = choose.choice([layers.MaxPooling2D, layers.AveragePooling2D])
    return kind(2, strides=1, padding="same")(x)


def _joined(choose, x, maps, shared):
    """With another map of as many channels, or with a projection of another one."""
    other = choose.choice(maps)
    if other.shape != x.shape or other is x:
        other = _conv(other, x.shape[-1])
    kind = choose.choice([layers.Add, layers.Add, layers.Maximum, layers.Multiply])
    return kind()(choose.sample([x, other], 2))


def _concatenated(choose, x, maps, shared):
    return layers.Concatenate()([x, *choose.choices(maps, k=choose.randint(1, 2))])


def _excited(choose, x, maps, shared):
    squeezed = layers.GlobalAveragePooling2D(keepdims=choose.random() < 0.5)(x)
    if len(squeezed.shape) == 2 and choose.random() < 0.5:
        squeezed = layers.Reshape((1, 1, x.shape[-1]))(squeezed)
    gate = layers.Dense(x.shape[-1], "sigmoid")(layers.Dense(2, "relu")(squeezed))
    return layers.Multiply()([x, gate])


def _attended(choose, x, maps, shared):
    return layers.Multiply()([x, _conv(x, 1, activation="sigmoid")])


def _shared(choose, x, maps, shared):
    """By a layer that may have been called on another map already."""
    depth = x.shape[-1]
    if depth not in shared:
        kinds = [lambda: layers.Conv2D(3, 1), BatchNormalization, lambda: _inner_model(depth)]
        shared[depth] = choose.choice(kinds)()
    return shared[depth](x)


def _inner_model(depth):
    x = keras.Input((None, None, depth))
    return keras.Model(x, BatchNormalization()(layers.ReLU()(_conv(x, 2))))


def _unknown(choose, x, maps, shared):
    depth = x.shape[-1]
    kinds = [
        layers.LayerNormalization,
        lambda: layers.SeparableConv2D(depth, 1),
        lambda: layers.Conv2DTranspose(depth, 1),
        lambda: layers.Conv2D(depth, 1, groups=depth),
    ]
    return choose.choice(kinds)()(x)


_STEPS = (
    *(_convolution, _normalized, _depthwise, _pooled, _attended, _unknown),
    *(_joined, _joined, _concatenated, _concatenated, _excited, _shared),
)
"""Those that tie channels are there more often: they are what can go wrong."""
