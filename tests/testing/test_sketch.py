import keras
import numpy as np
import pytest

from frcnn_core.testing.sketch import sketch


class Counted(keras.initializers.Initializer):
    """Zeros, and how many times they were asked for."""

    calls = 0

    def __call__(self, shape, dtype=None):
        Counted.calls += 1
        return keras.ops.zeros(shape, dtype)


def network() -> keras.Model:
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, 2, kernel_initializer=Counted(), name="conv")(images)
    return keras.Model(images, keras.layers.BatchNormalization(name="norm")(x))


def test_a_sketch_has_the_names_and_shapes_of_the_drawing():
    drawn, sketched = network(), sketch(network)
    assert sketched.output.shape == drawn.output.shape == (None, None, None, 8)
    assert [layer.name for layer in sketched.layers][1:] == ["conv", "norm"]
    assert [w.shape for w in sketched.weights] == [w.shape for w in drawn.weights]


def test_its_weights_are_not_initialized_then_or_later():
    before = Counted.calls
    sketched = sketch(network)
    with keras.StatelessScope():  # at its end Keras initializes what waits for it
        pass
    assert sketched.count_params() == 8 * 3 * 3 * 3 + 8 + 4 * 8
    assert Counted.calls == before


def test_a_layer_that_needs_a_value_is_drawn_in_full():
    class Scale(keras.layers.Layer):
        def build(self, input_shape):
            self.factor = keras.Variable(np.float32(2.0), name="factor")

        def call(self, x):
            return x * self.factor

    def network():
        images = keras.Input((4,))
        return keras.Model(images, Scale(name="scale")(images))

    assert sketch(network)(np.ones((1, 4), "float32")).numpy().tolist() == [[2.0] * 4]


@pytest.mark.slow
def test_an_error_is_that_of_the_drawing():
    def network():
        raise ValueError("no such variant")

    with pytest.raises(ValueError, match="no such variant"):
        sketch(network)
