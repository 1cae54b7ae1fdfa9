"""EfficientNet b0 to b7, cut after the fifth stage; Tan and Le 2019,
https://arxiv.org/abs/1905.11946."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Backbone, ImportPlan, hookimpl
from frcnn_core.errors import ModelFileError

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class EfficientNet(Backbone):
    name = "efficientnet"
    summary = "inverted residuals with squeeze and excitation, scaled in depth and width"
    variants = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")
    freeze_ids = range(0, 9)
    honours = frozenset({"dropout_rate", "drop_connect_rate", "activation"})

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_efficientnet import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_efficientnet import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_efficientnet import weights

        if library == "keras":
            return weights.keras_plan(variant)
        if library == "torchvision":
            raise ModelFileError(
                "The EfficientNets of torchvision put the zeros of a stride elsewhere than ours "
                "do, so their weights would see other pixels. Import those of Keras."
            )
        return super().import_plan(variant, library)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [EfficientNet()]
