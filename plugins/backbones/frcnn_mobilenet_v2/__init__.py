"""MobileNet V2, cut before its last stride; Sandler et al. 2018,
https://arxiv.org/abs/1801.04381."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from frcnn_core import Backbone, ImportPlan, hookimpl

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class MobileNetV2(Backbone):
    name = "mobilenet_v2"
    summary = "inverted residuals with linear bottlenecks"
    freeze_ids = range(0, 14)
    honours = frozenset({"all_projections"})

    @dataclass(frozen=True)
    class Options:
        padding: Literal["symmetric", "tensorflow"] = field(
            default="symmetric",
            metadata={
                "help": "Where convolutions of stride 2 put their zeros: alike on all sides, or "
                "as the weights of keras.applications need it."
            },
        )
        relu6: bool = field(
            default=False,
            metadata={"help": "Cut activations off at 6, as public weights were trained."},
        )

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_mobilenet_v2 import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_mobilenet_v2 import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_mobilenet_v2 import weights

        if library == "keras":
            return weights.keras_plan()
        if library == "torchvision":
            return weights.torchvision_plan()
        return super().import_plan(variant, library)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [MobileNetV2()]
