"""Whether weights compute what they were trained to compute, told from a few images, no labels.

Every batch normalization remembers the mean and the variance of each channel that it saw in
training.  Weights in a wrong order, with other strides or padding, or on images prepared otherwise
have the right shapes and compute nonsense; then what a layer sees has nothing to do with what it
remembers.  Correlating the two over the channels shows that, layer by layer.

Ranks are correlated, which images unlike those of the training disturb least.  What this cannot
see are changes that keep the strength of each filter: mirrored kernels, red and blue exchanged.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from frcnn_core.data import Preprocessing
from frcnn_core.detector import crop_and_resize
from frcnn_core.plugin.import_plan import CAFFE, DARKNET, TENSORFLOW, TORCHVISION

COMMON = {
    "keras.applications' MobileNet": TENSORFLOW,
    "keras.applications' ResNet and VGG": CAFFE,
    "torchvision": TORCHVISION,
    "Darknet": DARKNET,
}
"""Preprocessings that public weights were trained with."""

_ALIKE = 0.05
"""Standard deviation over the channels of ln(variance) below which nothing can be correlated."""

_DEAD = 1e-3
"""Channels whose remembered variance is below this part of the median's never did anything."""

_TINY = 1e-12
"""Added to variances: a channel that is always 0 has none, and no logarithm."""


class Moments(NamedTuple):
    """Of each channel, over images and places."""

    mean: np.ndarray
    """(C,)"""
    variance: np.ndarray
    """(C,)"""


@dataclass(frozen=True)
class Fit:
    """What one normalization sees, held against what it remembers."""

    layer: str
    channels: int
    correlation: float | None
    """Rank correlation of the variances, over the channels; None where the remembered ones are
    all alike, as in weights that were trained without normalization."""
    ratio: float
    """Median over the channels of the seen standard deviation by the remembered one."""


@dataclass(frozen=True)
class Guess:
    """A preprocessing that weights may have been trained with."""

    name: str
    preprocessing: Preprocessing
    divergence: float
    """Of what the first normalization sees from what it remembers; 0 where they are equal."""


def fits(features: keras.Model, head: keras.Model, images: Iterable[np.ndarray]) -> list[Fit]:
    """How well the inputs of each normalization agree with its statistics, in data-flow order.

    Args:
        features: with the weights in question; run as in detection.
        head: likewise; it sees each whole image as one RoI.
        images: network inputs, each (H, W, C) float32.
    """
    side = head.inputs[0].shape[1]
    norms, probe = _probe(features)
    head_norms, head_probe = _probe(head)

    def look(image: tf.Tensor) -> list[tf.Tensor]:
        size = tf.shape(image)[:2]
        feature_map, *seen = probe(image[None], training=False)
        whole = tf.cast(tf.concat([[0, 0], size], 0), tf.float32)[None, None]
        crop = crop_and_resize(feature_map, whole, size, side=side)
        return [*seen, *head_probe(crop, training=False)[1:]]

    return [
        _fit(norm, seen)
        for norm, seen in zip([*norms, *head_norms], _average(look, images), strict=True)
    ]


def guesses(
    features: keras.Model, given: Preprocessing, pixels: Sequence[np.ndarray]
) -> list[Guess]:
    """The given preprocessing and the common ones, the best first.

    Only the first normalization is asked: what it sees is one convolution away from the image.

    Args:
        features: with the weights in question, for images of three channels; it has a
            normalization.
        given: what the spec says.
        pixels: images of the network's size, each (H, W, 3) float32 in 0..255, RGB.
    """
    candidates = {"the spec": given} | {
        name: replace(
            given, channel_order=images.channel_order, means=images.means, scale=images.scale
        )
        for name, images in COMMON.items()
    }
    (norm, *_), probe = _probe(features, first_only=True)

    found = []
    for name, preprocessing in candidates.items():

        def look(
            image: tf.Tensor, normalize: Callable[[tf.Tensor], tf.Tensor] = preprocessing.normalize
        ) -> list[tf.Tensor]:
            return probe(normalize(image)[None], training=False)[1:]

        (seen,) = _average(look, pixels)
        found.append(Guess(name, preprocessing, _divergence(seen, _remembered(norm))))
    return sorted(found, key=lambda guess: guess.divergence)


def _probe(
    part: keras.Model, *, first_only: bool = False
) -> tuple[list[keras.layers.BatchNormalization], keras.Model]:
    """The normalizations of a graph, and a graph of its output and each one's mean and mean square.

    Args:
        first_only: of the first normalization alone, whose own output stands for the graph's.
    """
    norms = [n for n in part.layers if isinstance(n, keras.layers.BatchNormalization)]
    norms = norms[:1] if first_only else norms
    outputs = [norms[0].output if first_only else part.outputs[0]]
    for norm in norms:
        x = keras.ops.cast(norm.input, "float32")
        axes = tuple(range(len(x.shape) - 1))
        outputs += [keras.ops.mean(x, axes), keras.ops.mean(keras.ops.square(x), axes)]
    return norms, keras.Model(part.inputs, outputs)


def _average(
    look: Callable[[tf.Tensor], list[tf.Tensor]], images: Iterable[np.ndarray]
) -> list[Moments]:
    """Moments over images, of each layer for which ``look`` gives a mean and a mean square."""
    traced = tf.function(look, reduce_retracing=True, autograph=False)
    answers = [[one.numpy() for one in traced(tf.constant(image))] for image in images]
    averages = [np.mean(column, axis=0) for column in zip(*answers, strict=True)]
    return [
        Moments(mean, np.maximum(square - mean**2, 0.0))
        for mean, square in zip(averages[::2], averages[1::2], strict=True)
    ]


def _remembered(norm: keras.layers.BatchNormalization) -> Moments:
    mean: Any = norm.moving_mean
    variance: Any = norm.moving_variance
    return Moments(mean.numpy(), variance.numpy())


def _fit(norm: keras.layers.BatchNormalization, seen: Moments) -> Fit:
    remembered = _remembered(norm).variance
    alive = remembered > _DEAD * np.median(remembered)
    ours, theirs = np.log(seen.variance[alive] + _TINY), np.log(remembered[alive] + _TINY)
    alike = min(ours.std(), theirs.std()) < _ALIKE
    return Fit(
        layer=norm.name,
        channels=len(remembered),
        correlation=None if alike else float(np.corrcoef(_ranks(ours), _ranks(theirs))[0, 1]),
        ratio=float(np.exp(np.median(ours - theirs) / 2)),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def _divergence(seen: Moments, remembered: Moments) -> float:
    """Median over the channels of the divergence of two normal distributions.

    Source: Kullback and Leibler 1951.
    """
    variance = remembered.variance + _TINY
    ratio = (seen.variance + _TINY) / variance
    shift = (seen.mean - remembered.mean) ** 2 / variance
    return float(np.median(0.5 * (ratio + shift - 1.0 - np.log(ratio))))
