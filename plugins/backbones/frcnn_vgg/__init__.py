"""VGG 16 and 19 with batch normalization, cut before the last pool.

Source: Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Backbone, ImportPlan, hookimpl

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class VGG(Backbone):
    name = "vgg"
    summary = "plain 3x3 convolutions, and two large dense layers for each RoI"
    variants = ("16", "19")
    freeze_ids = range(1, 6)
    honours = frozenset({"use_pooling", "dropout_rate"})

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_vgg import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_vgg import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_vgg import weights

        if library not in weights.PLANS:
            return super().import_plan(variant, library)
        return weights.PLANS[library](variant)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [VGG()]
