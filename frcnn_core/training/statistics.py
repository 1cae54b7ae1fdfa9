"""First statistics for batch normalizations that will not move theirs.

With ``freeze_bn`` the moving mean and variance come from pretrained weights.  Where there are none
they would be 0 and 1 for ever, whatever the layers' inputs are, and a deep network hardly trains.
Measured once on the training data, they give such layers inputs of unit variance to start from.

Source: the idea is that of Mishkin and Matas 2016, https://arxiv.org/abs/1511.06422.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from frcnn_core.detector import BatchNormalization, FasterRCNN, TrainingSettings
from frcnn_core.detector.quantized_layers import FakeQuantize
from frcnn_core.quantization import quantizers
from frcnn_core.structures import Batch

NUM_IMAGES = 32


def batch_size(each: int, processes: int) -> int:
    """Images per batch that several processes with batches of ``each`` measure with.

    As many as one process would have that has all of their images, so that the statistics are the
    same; but this process alone has to find the memory, and more than NUM_IMAGES are not needed.
    """
    return max(min(each * processes, NUM_IMAGES), each)


def measure_statistics(
    detector: FasterRCNN,
    batches: Iterable[Batch],
    settings: TrainingSettings,
    *,
    of: Callable[[str], bool] = lambda name: True,
) -> None:
    """Set moving means and variances to the mean over the first batches' of what the layers saw.

    Args:
        detector: nothing but its statistics changes.
        batches: of the training data; those with the first NUM_IMAGES images are used.
        settings: how RoIs are sampled for the head.
        of: tells by their names which normalizations are measured; the others are used as they
            are.
    """
    norms = [
        layer
        for part in detector.parts.values()
        for layer in part.layers
        if isinstance(layer, BatchNormalization) and of(layer.name)
    ]
    done = 0
    with _moving(norms), _kept(quantizers(detector.parts)):
        for number, batch in enumerate(batches, start=1):
            for norm in norms:
                norm.momentum = 1.0 - 1.0 / number  # makes the moving average a plain mean
            images = tf.range(done, done + len(batch.images))
            detector.losses(batch, tf.stack([tf.zeros_like(images), 4 * images], axis=1), settings)
            done += len(batch.images)
            if done >= NUM_IMAGES:
                break


@contextmanager
def _moving(norms: list[BatchNormalization]) -> Iterator[None]:
    """The layers' statistics move with every batch; afterwards they are frozen again."""
    before = [(norm.frozen_statistics, norm.momentum) for norm in norms]
    for norm in norms:
        norm.frozen_statistics = False
    try:
        yield
    finally:
        for norm, (frozen, momentum) in zip(norms, before, strict=True):
            norm.frozen_statistics, norm.momentum = frozen, momentum


@contextmanager
def _kept(layers: list[FakeQuantize]) -> Iterator[None]:
    """Ranges follow what the statistics are measured on; afterwards they are as before."""
    variables = [variable for layer in layers for variable in layer.variables]
    values = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
