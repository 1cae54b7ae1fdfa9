"""ResNet 10 to 101, cut after the third stage; He et al. 2015, https://arxiv.org/abs/1512.03385."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Backbone, ImportPlan, hookimpl

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class ResNet(Backbone):
    name = "resnet"
    summary = "residual networks"
    variants = ("10", "18", "34", "50", "101")
    freeze_ids = range(0, 4)
    honours = frozenset({"use_pooling", "all_projections"})

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_resnet import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_resnet import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_resnet import weights

        if library not in weights.PLANS:
            return super().import_plan(variant, library)
        return weights.PLANS[library](variant)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [ResNet()]
