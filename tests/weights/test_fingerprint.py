from dataclasses import replace

import keras
import numpy as np
import pytest

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.weights.fingerprint import COMMON, fits, guesses

SIDE = 64
MOBILENET = Preprocessing(height=SIDE, width=SIDE, means=(127.5,) * 3, scale=127.5)


def scenes(count=6):
    """Coloured patches with structure at several sizes, (SIDE, SIDE, 3) in 0..255."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        image = np.zeros((SIDE, SIDE, 3))
        for cells in (4, 8, 16, 32):
            patches = random.normal(0, 1, (cells, cells, 3)) * [1.0, 0.8, 0.3]
            image += np.kron(patches, np.ones((SIDE // cells, SIDE // cells, 1)))
        images.append(np.clip([150, 120, 90] + 35 * image, 0, 255).astype("float32"))
    return images


def network(seed=0):
    """Features and head with a normalization after each of their convolutions."""
    keras.utils.set_random_seed(seed)
    spread = np.exp(np.random.default_rng(seed).normal(0, 1, 16))

    def conv_bn(x, number):
        x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"bn{number}")(x))

    images = keras.Input((None, None, 3))
    x = conv_bn(images, 1)
    x = keras.layers.MaxPooling2D(16)(conv_bn(x, 2))
    rois = keras.Input((4, 4, 16))
    head = keras.layers.GlobalAveragePooling2D()(conv_bn(rois, 3))
    features, head = keras.Model(images, x), keras.Model(rois, head)
    for layer in (*features.layers, *head.layers):
        if isinstance(layer, keras.layers.Conv2D):
            # Filters of trained networks differ in strength.
            layer.kernel.assign(layer.kernel * spread)
    return features, head


def norms(*parts):
    return [
        layer
        for part in parts
        for layer in part.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def remember(features, head, preprocessing):
    """Set the moving statistics of the first normalizations to what they see of the scenes."""
    images = np.stack([preprocessing.normalize(image) for image in scenes()])
    for norm in norms(features):
        seen = np.asarray(keras.Model(features.input, norm.input)(images))
        norm.moving_mean.assign(seen.mean((0, 1, 2)))
        norm.moving_variance.assign(seen.var((0, 1, 2)))
    crops = np.asarray(features(images))
    (norm,) = norms(head)
    seen = np.asarray(keras.Model(head.input, norm.input)(crops))
    norm.moving_mean.assign(seen.mean((0, 1, 2)))
    norm.moving_variance.assign(seen.var((0, 1, 2)))


def inputs(preprocessing):
    return [preprocessing.normalize(image).numpy() for image in scenes()]


@pytest.mark.slow
def test_a_network_that_sees_what_it_saw_in_training_correlates_in_every_layer():
    features, head = network()
    remember(features, head, MOBILENET)
    found = fits(features, head, inputs(MOBILENET))
    assert [fit.layer for fit in found] == ["bn1", "bn2", "bn3"]
    assert [fit.channels for fit in found] == [16, 16, 16]
    for fit in found[:2]:
        assert fit.correlation == pytest.approx(1, abs=1e-3)
        assert fit.ratio == pytest.approx(1, abs=1e-2)
    # The head's crop is not quite its map: RoI pooling samples between the cells.
    assert found[2].correlation > 0.95


@pytest.mark.slow
def test_kernels_in_a_wrong_order_do_not_correlate():
    features, head = network()
    remember(features, head, MOBILENET)
    layer = features.get_layer("conv1")
    kernel = layer.kernel.numpy()  # (3, 3, 3, 16) read as if it were (16, 3, 3, 3)
    layer.kernel.assign(kernel.reshape(16, 3, 3, 3).transpose(1, 2, 3, 0))
    found = fits(features, head, inputs(MOBILENET))
    assert found[0].correlation < 0.6


@pytest.mark.slow
def test_images_on_another_scale_show_in_the_ratio_and_not_in_the_correlation():
    features, head = network()
    remember(features, head, MOBILENET)
    caffe = replace(MOBILENET, scale=1.275)
    first, *_ = fits(features, head, inputs(caffe))
    assert first.correlation == pytest.approx(1, abs=1e-3)
    assert first.ratio == pytest.approx(100, rel=0.01)


@pytest.mark.slow
def test_statistics_that_are_all_alike_tell_nothing():
    features, head = network()
    assert [fit.correlation for fit in fits(features, head, inputs(MOBILENET))] == [None] * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMON)
def test_the_preprocessing_of_the_training_is_the_best_guess(name):
    images = COMMON[name]
    trained = replace(
        MOBILENET, channel_order=images.channel_order, means=images.means, scale=images.scale
    )
    features, head = network()
    remember(features, head, trained)
    given = Preprocessing(height=SIDE, width=SIDE, means=(1.0, 2.0, 3.0), scale=4.0)
    best, *others = guesses(features, given, scenes())
    assert (best.name, best.preprocessing) == (name, trained)
    assert best.divergence == pytest.approx(0, abs=1e-3)
    assert any(guess.preprocessing == given for guess in others)


@pytest.mark.slow
def test_what_the_spec_says_wins_where_it_is_right():
    features, head = network()
    trained = Preprocessing(height=SIDE, width=SIDE, means=(100.0, 90.0, 80.0), scale=60.0)
    remember(features, head, trained)
    assert guesses(features, trained, scenes())[0].name == "the spec"
