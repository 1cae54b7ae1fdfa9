"""MobileNet V1, cut before its last two blocks; Howard et al. 2017,
https://arxiv.org/abs/1704.04861."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from frcnn_core import Backbone, ImportPlan, hookimpl
from frcnn_core.errors import ModelFileError

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class MobileNetV1(Backbone):
    name = "mobilenet_v1"
    summary = "depthwise separable convolutions"
    freeze_ids = range(0, 12)

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
        from frcnn_mobilenet_v1 import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_mobilenet_v1 import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_mobilenet_v1 import weights

        if library == "keras":
            return weights.keras_plan()
        if library == "torchvision":
            raise ModelFileError("torchvision has no MobileNet V1. Import the one of Keras.")
        return super().import_plan(variant, library)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [MobileNetV1()]
