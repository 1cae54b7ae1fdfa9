"""GoogLeNet with batch normalization, cut after inception 4e.

Source: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Backbone, ImportPlan, hookimpl
from frcnn_core.errors import ModelFileError

if TYPE_CHECKING:
    import keras

    from frcnn_core.detector import Blocks


class GoogLeNet(Backbone):
    name = "googlenet"
    summary = "inception modules: 1x1, 3x3, 5x5 and a pool side by side"
    freeze_ids = range(0, 8)

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_googlenet import network

        return network.features(images, blocks)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        from frcnn_googlenet import network

        return network.head(rois, blocks)

    def import_plan(self, variant: str, library: str) -> ImportPlan:
        if library == "torchvision":
            raise ModelFileError(
                "torchvision's googlenet has 3x3 convolutions in place of the 5x5 of the paper, "
                "and other pools, so its weights would compute something else here."
            )
        if library == "keras":
            raise ModelFileError(
                "keras.applications has no GoogLeNet; its InceptionV3 is another network."
            )
        return super().import_plan(variant, library)


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [GoogLeNet()]
