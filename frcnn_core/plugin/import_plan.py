"""How another library's weights of a network become those of a backbone, as data.

A backbone that public weights exist for answers ``Backbone.import_plan``; ``frcnn_core.weights``
reads the file and carries the plan out.  One *unit* is a convolution or dense layer and the batch
normalization after it, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LIBRARIES = {
    "keras": "a file of keras.applications (.h5, .hdf5, .keras)",
    "torchvision": "a PyTorch state dict in torchvision's layout (.pt, .pth, .safetensors)",
    "torchvision_plain": "such a state dict without batch normalization",
    "darknet": "a Darknet file (.weights)",
}
"""Where weights can come from, in words that fit after 'this is'."""


@dataclass(frozen=True)
class Unit:
    """One layer with weights, what normalizes it, and what the other library calls both."""

    layer: str
    """Our convolution, depthwise convolution or dense layer."""
    norm: str = ""
    """Our batch normalization after it; empty if there is none."""
    their_layer: str = ""
    """Theirs.  Empty in a plan for Darknet, whose files only have an order."""
    their_norm: str = ""
    """Theirs.  Empty if they have none: then ours is filled so that it changes nothing."""
    identity: bool = False
    """They have nothing here and pass the map on; ours is filled so that it does the same."""
    flattened: tuple[int, ...] = ()
    """(C, h, w) of the map that their dense layer sees flattened in that order; we flatten
    (h, w, C)."""


@dataclass(frozen=True)
class Images:
    """How images were prepared for a network: (pixel - mean) / deviation, channel by channel."""

    means: tuple[float, float, float]
    """Of r, g and b, in 0..255."""
    deviations: tuple[float, float, float]
    """Of r, g and b.  Where they differ, a first kernel can make up for it: a spec has one divisor
    for all three."""
    channel_order: str = "rgb"
    """``rgb`` or ``bgr``."""

    @property
    def scale(self) -> float:
        """One divisor for all three channels, as a number to type."""
        return round(sum(self.deviations) / 3, 3)


CAFFE = Images((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "bgr")
"""Of ResNet and VGG in keras.applications."""
TORCHVISION = Images((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Of all networks in torchvision: means and standard deviations of ImageNet."""
TENSORFLOW = Images((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""Of the MobileNets in keras.applications: pixels from -1 to 1."""
DARKNET = Images((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
"""Pixels from 0 to 1."""


@dataclass(frozen=True)
class ImportPlan:
    """What corresponds to what, and what the weights need in order to mean the same here."""

    units: tuple[Unit, ...]
    """In the order that data flows, which is the order of a Darknet file."""
    images: Images
    """What the weights were trained on."""
    epsilon: float = 1e-3
    """Of their normalizations, where the file does not tell."""
    epsilon_of_deviation: bool = False
    """Whether theirs divide by ``sqrt(variance) + epsilon``, not ``sqrt(variance + epsilon)``."""
    model_config: Mapping[str, bool | float | str] = field(default_factory=dict)
    """Fields that a spec has to set, e.g. ``{"use_pooling": True}``, named as in
    ``BackboneConfig``."""
    backbone_options: Mapping[str, str] = field(default_factory=dict)
    """The same of ``model_config.backbone_options``."""
    input_norm: str = ""
    """Their layer that normalizes images divided by 255 with a mean and a variance of its own; its
    numbers in the file count more than ``images``."""
    advice: str = ""
    """Anything else that the user should know, in a sentence."""
