"""DarkNet 19 and 53, cut before the last stage.

Sources: Redmon and Farhadi, YOLO9000 2016, https://arxiv.org/abs/1612.08242, and YOLOv3 2018,
https://arxiv.org/abs/1804.02767.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Backbone, ImportPlan, hookimpl

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class DarkNet(Backbone):
    name = "darknet"
    summary = "the networks of YOLOv2 (19) and YOLOv3 (53)"
    variants = ("19", "53")
    freeze_ids = range(0, 6)

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_darknet import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_darknet import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        from frcnn_darknet import weights

        if library != "darknet":
            return super().import_plan(variant, library)
        return weights.darknet_plan(variant)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [DarkNet()]
