"""Imported weights of keras.applications compute what the source network computes."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from .conftest import pixels, randomize

keras_applications = keras.applications

NETWORKS = {
    # arch: constructor, last layer of stride 16, last layer before the classifier, preprocessing
    "mobilenet_v1": ("MobileNet", "conv_pw_11_relu", "global_average_pooling2d", "mobilenet"),
    "mobilenet_v2": ("MobileNetV2", "block_12_add", "global_average_pooling2d", "mobilenet_v2"),
    "resnet:50": ("ResNet50", "conv4_block6_out", "avg_pool", "resnet"),
    "resnet:101": ("ResNet101", "conv4_block23_out", "avg_pool", "resnet"),
    "vgg:16": ("VGG16", "block5_conv3", "fc2", "vgg16"),
    "vgg:19": ("VGG19", "block5_conv4", "fc2", "vgg19"),
    **{
        f"efficientnet:b{i}": (f"EfficientNetB{i}", None, "avg_pool", "efficientnet")
        for i in range(8)
    },
}
FAST = ("mobilenet_v2",)


def layer_at_stride_16(model: keras.Model, name: str | None) -> str:
    """``name``, or for EfficientNets, whose stages differ in length, the end of block 5."""
    if name:
        return name
    return [layer.name for layer in model.layers if layer.name.startswith("block5")][-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        arch if arch in FAST else pytest.param(arch, marks=pytest.mark.conformance)
        for arch in NETWORKS
    ],
)
def test_the_imported_network_computes_what_the_source_does(arch, importing, tmp_path):
    name, at_16, vector, package = NETWORKS[arch]
    keras.utils.set_random_seed(1)
    theirs = getattr(keras_applications, name)(weights=None, classes=2, input_shape=(224, 224, 3))
    randomize(theirs)
    theirs.save(tmp_path / "theirs.keras")

    images = pixels(224, 224)
    preprocess = getattr(keras_applications, package).preprocess_input
    last = [layer for layer in theirs.layers if layer.name.startswith(vector)][-1]
    probe = keras.Model(
        theirs.input, [theirs.get_layer(layer_at_stride_16(theirs, at_16)).output, last.output]
    )
    expected_map, expected_vector = (np.asarray(one) for one in probe(preprocess(images.copy())))

    # The crop of the head is the whole map of 14 x 14 cells: then both networks are one.
    (features, head), imported, ours = importing(
        tmp_path / "theirs.keras", arch, pool_size=7, pool_size_2x=True
    )
    found_map = features(ours.normalize(images))
    assert imported.left_out == ()
    assert found_map.shape[1:3] == (14, 14)
    close(found_map, expected_map)
    close(head(found_map), np.reshape(expected_vector, (1, -1)))


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.weights.h5", "weights.h5", "whole.h5"])
def test_every_format_that_keras_writes_is_imported(importing, tmp_path, name):
    theirs = keras_applications.MobileNetV2(weights=None, classes=2, input_shape=(64, 64, 3))
    randomize(theirs)
    if name.startswith("whole"):
        theirs.save(tmp_path / name)
    elif name == "weights.h5":
        with h5py.File(tmp_path / name, "w") as file:
            save_weights_to_hdf5_group(file, theirs)
    else:
        theirs.save_weights(tmp_path / name)
    (features, _), _, ours = importing(tmp_path / name, "mobilenet_v2")
    images = pixels(64, 64)
    expected = keras.Model(theirs.input, theirs.get_layer("block_12_add").output)(
        keras_applications.mobilenet_v2.preprocess_input(images.copy())
    )
    close(features(ours.normalize(images)), np.asarray(expected))


@pytest.mark.slow
def test_a_network_without_its_last_stages_is_imported_as_far_as_it_goes(importing, tmp_path):
    theirs = keras_applications.MobileNetV2(weights=None, include_top=False)
    randomize(theirs)
    keras.Model(theirs.input, theirs.get_layer("block_13_expand_relu").output).save(
        tmp_path / "half.keras"
    )
    _, imported, _ = importing(tmp_path / "half.keras", "mobilenet_v2")
    assert "block_13_depthwise" in imported.left_out and "conv_1" in imported.left_out
    assert "block_12_project" in imported.layers and "block_13_expand" in imported.layers


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["variances", "deviations"])
def test_the_normalization_inside_an_efficientnet_becomes_preprocessing(
    stored, importing, tmp_path
):
    """Keras's own ImageNet files hold deviations where variances should be, and its networks
    divide once more by their root; other files hold variances."""
    deviations = np.array([0.229, 0.224, 0.225], "float32")
    theirs = keras_applications.EfficientNetB0(weights=None, classes=2)
    norm = next(one for one in theirs.layers if isinstance(one, keras.layers.Normalization))
    norm.adapt_mean.assign([0.485, 0.456, 0.406])
    norm.adapt_variance.assign(deviations if stored == "deviations" else deviations**2)
    norm.finalize_state()
    randomize(theirs)
    theirs.save(tmp_path / "theirs.keras")
    (features, _), imported, ours = importing(tmp_path / "theirs.keras", "efficientnet:b0")
    assert imported.origin.means == (123.675, 116.28, 103.53)
    assert imported.origin.scale == pytest.approx(57.63)

    images = pixels(224, 224)
    to_stem = keras.Model(theirs.input, theirs.get_layer("stem_conv").output)
    after = keras.Model(
        theirs.get_layer("stem_conv").output, theirs.get_layer("block5c_add").output
    )
    # In either case the network was trained on (pixel / 255 - mean) / deviation.
    stem = theirs.get_layer("stem_conv").kernel
    normalized = (images / 255 - [0.485, 0.456, 0.406]) / deviations
    padded = np.pad(normalized, [(0, 0), (0, 1), (0, 1), (0, 0)])
    expected = after(tf.nn.conv2d(padded.astype("float32"), stem, 2, "VALID"))
    if stored == "variances":  # then that is what the saved network computes, too
        close(to_stem(images), np.asarray(tf.nn.conv2d(padded.astype("float32"), stem, 2, "VALID")))
    close(features(ours.normalize(images)), np.asarray(expected))
