"""EfficientNet b0 to b7, cut after the fifth stage; Tan and Le 2019,
https://arxiv.org/abs/1905.11946."""

from frcnn_core import Backbone, hookimpl
from frcnn_core.errors import ModelFileError


class EfficientNet(Backbone):
    name = "efficientnet"
    summary = "inverted residuals with squeeze and excitation, scaled in depth and width"
    variants = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")
    freeze_ids = range(0, 9)
    honours = frozenset({"dropout_rate", "drop_connect_rate", "activation"})

    def features(self, images, blocks):
        from frcnn_efficientnet import network

        return network.features(images, blocks)

    def head(self, rois, blocks):
        from frcnn_efficientnet import network

        return network.head(rois, blocks)

    def import_plan(self, variant, library):
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
def frcnn_register_backbones():
    return [EfficientNet()]
