"""Public weights of the EfficientNets."""

from __future__ import annotations

from collections.abc import Iterator

from frcnn_core import ImportPlan, Unit
from frcnn_core.plugin.import_plan import TORCHVISION
from frcnn_efficientnet.scaling import scaled_blocks


def keras_plan(variant: str) -> ImportPlan:
    """``keras.applications.EfficientNetB0`` and so on, which name layers alike."""
    return ImportPlan(
        units=tuple(Unit(layer, norm, layer, norm) for layer, norm in _pairs(variant)),
        images=TORCHVISION,
        input_norm="normalization",
        advice="They were trained with swish, which is the default of model_config.activation.",
    )


def _pairs(variant: str) -> Iterator[tuple[str, str]]:
    """Layers with weights in the order of the data, and what normalizes each."""
    yield "stem_conv", "stem_bn"
    for block in scaled_blocks(variant):
        name = block.prefix
        if block.expansion != 1:
            yield f"{name}expand_conv", f"{name}expand_bn"
        yield f"{name}dwconv", f"{name}bn"
        yield f"{name}se_reduce", ""
        yield f"{name}se_expand", ""
        yield f"{name}project_conv", f"{name}project_bn"
    yield "top_conv", "top_bn"
