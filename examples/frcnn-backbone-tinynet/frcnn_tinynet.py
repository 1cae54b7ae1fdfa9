"""A backbone of four convolutions: the smallest plugin that passes the contract."""

from frcnn_core import Backbone, hookimpl


class TinyNet(Backbone):
    name = "tinynet"
    summary = "four convolutions, for tests and tutorials"
    freeze_ids = range(0, 4)

    def features(self, images, blocks):
        x = images
        for block, filters in enumerate((8, 16, 32, 64)):
            x = blocks.conv_bn(x, filters, 3, name=f"conv{block}", block=block, strides=2)
        return x

    def head(self, rois, blocks):
        import keras

        strides = 2 if blocks.config.pool_size_2x else 1
        x = blocks.conv_bn(rois, 64, 3, name="head_conv", block=None, strides=strides)
        return keras.layers.GlobalAveragePooling2D(name="head_pool")(x)


@hookimpl
def frcnn_register_backbones():
    return [TinyNet()]
