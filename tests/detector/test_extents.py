import keras
import pytest
from keras import layers

from frcnn_core.detector import extents
from frcnn_core.detector.extents import Extent, Obstacle
from frcnn_core.detector.layers import BackboneConfig, Blocks


def graph(draw):
    """The model of ``draw``, a function from a map to a map."""
    inputs = keras.Input((None, None, 2))
    return keras.Model(inputs, draw(inputs))


# What is not known --------------------------------------------------------------------------


class Mystery(keras.layers.Layer):
    def call(self, x):
        return x


class Subclass(keras.layers.Conv2D):
    pass


REFUSED = {
    "Mystery": (lambda x: Mystery()(x), "kind"),
    "Subclass": (lambda x: Subclass(2, 3)(x), "kind"),
    "UpSampling2D": (
        lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
        "interpolates between cells",
    ),
    "Activation": (lambda x: layers.Activation(lambda x: x - x)(x), "activation"),
    "Conv2D": (lambda x: layers.Conv2D(2, 3, strides=3, padding="same")(x), "3 x 3 pixels"),
    "Subtract": (
        lambda x: layers.Subtract()([layers.Cropping2D(1)(x), layers.MaxPooling2D(2)(x)]),
        "do not correspond",
    ),
    "Multiply": (
        lambda x: layers.Multiply()([x, layers.Reshape((1, 2, 1))(layers.GlobalMaxPooling2D()(x))]),
        "of a fixed size",
    ),
    "Concatenate": (lambda x: layers.Concatenate(axis=1)([x, x]), "beside each other"),
    "BatchNormalization": (lambda x: layers.BatchNormalization(axis=1)(x), "by channel"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_layer_does_to_cells_must_be_known(kind):
    draw, why = REFUSED[kind]
    # Only with a size can Keras normalize by row.
    inputs = keras.Input((8, 8, 2) if kind == "BatchNormalization" else (None, None, 2))
    with pytest.raises(Obstacle, match=rf"\({kind}\) .*{why}"):
        extents.follow(keras.Model(inputs, draw(inputs)))


def test_an_operation_that_is_no_layer_is_named():
    inputs = keras.Input((None, None, 2))
    with pytest.raises(Obstacle, match=r"\(Multiply|\(Add"):
        extents.follow(keras.Model(inputs, inputs + 1.0))


# Counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "extent"),
    [
        (lambda x: layers.Conv2D(2, 3, padding="same")(x), Extent()),
        (lambda x: layers.Conv2D(2, 3)(x), Extent(offset=(-2, -2))),
        (lambda x: layers.Conv2D(2, 3, strides=2)(x), Extent((2, 2), (-1, -1))),
        (lambda x: layers.ZeroPadding2D(((1, 2), (3, 4)))(x), Extent(offset=(3, 7))),
        (lambda x: layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x)), Extent((2, 2), (1, 1))),
        (lambda x: layers.GlobalAveragePooling2D()(x), None),
    ],
)
def test_the_number_of_own_cells_follows_from_the_graph(draw, extent):
    model = graph(draw)
    assert extents.follow(model)[id(model.outputs[0])] == extent


@pytest.mark.slow
def test_a_symmetric_stride_of_a_backbone_halves_the_canvas():
    def draw(x):
        x = Blocks(BackboneConfig()).conv(x, 4, 7, name="conv", block=None, strides=2)
        return Blocks(BackboneConfig()).max_pool(x, 3, strides=2, name="pool")

    model = graph(draw)
    assert extents.follow(model)[id(model.outputs[0])] == Extent((4, 4))
