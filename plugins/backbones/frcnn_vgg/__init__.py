"""VGG 16 and 19 with batch normalization, cut before the last pool.

Source: Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556.
"""

from frcnn_core import Backbone, hookimpl


class VGG(Backbone):
    name = "vgg"
    summary = "plain 3x3 convolutions, and two large dense layers for each RoI"
    variants = ("16", "19")
    freeze_ids = range(1, 6)
    honours = frozenset({"use_pooling", "dropout_rate"})

    def features(self, images, blocks):
        from frcnn_vgg import network

        return network.features(images, blocks)

    def head(self, rois, blocks):
        from frcnn_vgg import network

        return network.head(rois, blocks)

    def import_plan(self, variant, library):
        from frcnn_vgg import weights

        if library not in weights.PLANS:
            return super().import_plan(variant, library)
        return weights.PLANS[library](variant)


@hookimpl
def frcnn_register_backbones():
    return [VGG()]
