"""Where public weights of ResNets go: those of keras.applications and of torchvision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from frcnn_core import ImportPlan, Unit
from frcnn_core.errors import ModelFileError
from frcnn_core.plugin.import_plan import CAFFE, TORCHVISION
from frcnn_resnet.network import BOTTLENECKS, UNITS, letters

_CONFIG = {"use_pooling": True, "all_projections": False}


def keras_plan(variant: str) -> ImportPlan:
    """Keras's networks have biases before their normalizations, and the preprocessing of Caffe.

    Raises:
        ModelFileError: Keras has no such network.
    """
    if variant not in BOTTLENECKS:
        raise ModelFileError(
            f"keras.applications has no ResNet-{variant}. It has ResNet-50 and 101; torchvision "
            "has ResNet-18 and 34."
        )
    units = [Unit("conv1", "bn_conv1", "conv1_conv", "conv1_bn")]
    for convolution in _convolutions(variant):
        stage, unit, number = convolution
        theirs = f"conv{stage + 1}_block{unit + 1}_{number}"
        units.append(
            replace(convolution.ours, their_layer=f"{theirs}_conv", their_norm=f"{theirs}_bn")
        )
    return ImportPlan(
        units=tuple(units),
        images=CAFFE,
        epsilon=1.001e-5,
        model_config=_CONFIG,
    )


def torchvision_plan(variant: str) -> ImportPlan:
    """Torchvision's networks without bottlenecks; their block 1a has no projection.

    Raises:
        ModelFileError: torchvision has no such network, or another one of that name.
    """
    if variant in BOTTLENECKS:
        raise ModelFileError(
            f"torchvision's ResNet-{variant} has the stride of a stage on a 3x3 convolution, and "
            "frcnn has it on the 1x1 before, as the paper and TLT do, so its weights would compute "
            f"something else here. Those of keras.applications' ResNet{variant} fit."
        )
    if variant == "10":
        raise ModelFileError("torchvision has no ResNet-10. Its smallest are ResNet-18 and 34.")
    units = [Unit("conv1", "bn_conv1", "conv1", "bn1")]
    for convolution in _convolutions(variant):
        stage, unit, number = convolution
        theirs = f"layer{stage}.{unit}"
        if number:
            layer, norm = f"{theirs}.conv{number}", f"{theirs}.bn{number}"
        else:
            layer, norm = f"{theirs}.downsample.0", f"{theirs}.downsample.1"
        if stage == 1 and not number:
            units.append(replace(convolution.ours, identity=True))
        else:
            units.append(replace(convolution.ours, their_layer=layer, their_norm=norm))
    return ImportPlan(
        units=tuple(units),
        images=TORCHVISION,
        epsilon=1e-5,
        model_config=_CONFIG,
    )


PLANS = {"keras": keras_plan, "torchvision": torchvision_plan}
"""By library."""


class _Convolution(NamedTuple):
    """Where a convolution of a residual unit is."""

    stage: int
    """From 1."""
    unit: int
    """From 0."""
    number: int
    """From 1; 0 is the shortcut's."""

    @property
    def ours(self) -> Unit:
        """With our names alone."""
        name, part = f"block_{self.stage}{letters(self.unit)}", self.number or "shortcut"
        return Unit(f"{name}_conv_{part}", f"{name}_bn_{part}")


def _convolutions(variant: str) -> Iterator[_Convolution]:
    """All but the first, where only the first unit of a stage projects."""
    numbers = (1, 2, 3) if variant in BOTTLENECKS else (1, 2)
    for stage, units in enumerate(UNITS[variant], start=1):
        for unit in range(units):
            for number in (*numbers, 0) if unit == 0 else numbers:
                yield _Convolution(stage, unit, number)
