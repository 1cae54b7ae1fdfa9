"""Where public weights of VGG 16 and 19 go: those of keras.applications and of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from frcnn_core import ImportPlan, Unit
from frcnn_core.plugin.import_plan import CAFFE, TORCHVISION
from frcnn_vgg.network import FILTERS, letters

_CONFIG = {"use_pooling": True}
_ONE_POOL_SIZE = "The weights of fc1 fit pool_size: 7 alone."
_NO_NORMALIZATIONS = (
    "These weights were trained without batch normalization: freeze_bn: True keeps it from "
    "changing what they compute."
)


def keras_plan(variant: str) -> ImportPlan:
    """Keras's networks have biases, no normalizations, and the preprocessing of Caffe."""
    convolutions = [
        replace(unit, their_layer=f"block{block}_conv{number}")
        for block, number, unit in _convolutions(variant)
    ]
    dense = [Unit("fc1", their_layer="fc1"), Unit("fc2", their_layer="fc2")]
    return ImportPlan(
        units=(*convolutions, *dense),
        images=CAFFE,
        model_config=_CONFIG,
        advice=f"{_NO_NORMALIZATIONS} {_ONE_POOL_SIZE}",
    )


def torchvision_plan(variant: str, *, normalized: bool) -> ImportPlan:
    """Torchvision's networks number their layers in a row, ReLUs and pools included.

    Args:
        normalized: whether it is the network with batch normalization (``vgg16_bn``).
    """
    units, index = [], 0
    for block, number, unit in _convolutions(variant):
        if block > 1 and number == 1:
            index += 1  # the pool before it
        norm = f"features.{index + 1}" if normalized else ""
        units.append(replace(unit, their_layer=f"features.{index}", their_norm=norm))
        index += 3 if normalized else 2
    units.append(Unit("fc1", their_layer="classifier.0", flattened=(512, 7, 7)))
    units.append(Unit("fc2", their_layer="classifier.3"))
    return ImportPlan(
        units=tuple(units),
        images=TORCHVISION,
        epsilon=1e-5,
        model_config=_CONFIG,
        advice=_ONE_POOL_SIZE if normalized else f"{_NO_NORMALIZATIONS} {_ONE_POOL_SIZE}",
    )


PLANS: dict[str, Callable[[str], ImportPlan]] = {
    "keras": keras_plan,
    "torchvision": partial(torchvision_plan, normalized=True),
    "torchvision_plain": partial(torchvision_plan, normalized=False),
}
"""By library."""


def _convolutions(variant: str) -> Iterator[tuple[int, int, Unit]]:
    """Block and number in it, both from 1, and our names of each convolution."""
    for block in range(1, len(FILTERS) + 1):
        for number, letter in enumerate(letters(variant, block), start=1):
            name = f"block_{block}{letter}"
            yield block, number, Unit(f"{name}_conv_1", f"{name}_bn_1")
