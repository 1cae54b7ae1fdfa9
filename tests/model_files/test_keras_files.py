"""Files Keras 3 writes, and older layouts built by hand as Keras 2 wrote them."""

import json

import h5py
import keras
import numpy as np
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.keras_files import read_hdf5, read_keras


@pytest.fixture(scope="module")
def model():
    """A convolution, a batch normalization, a nested model and a wrapped Dense, weights 0, 1..."""
    images = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 3, name="conv1")(images)
    x = keras.layers.BatchNormalization(name="bn1")(x)
    nested = keras.Sequential(
        [
            keras.Input((2, 2, 2)),
            keras.layers.Conv2D(1, 1, name="inner_a"),
            keras.layers.Conv2D(5, 1, name="inner_b"),
        ],
        name="block",
    )
    x = keras.layers.Reshape((4, 5))(nested(x))
    outputs = keras.layers.TimeDistributed(keras.layers.Dense(3, name="fc"), name="fc_td")(x)
    model = keras.Model(images, outputs)
    for i, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, i, np.float32))
    return model


def write_legacy(path, layers, *, under="", **attributes):
    """Write a Keras 2 file; ``layers`` is {layer: {weight name: array}}."""
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        root = file.create_group(under) if under else file
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                group[weight] = array


def constant(arrays):
    """The one value of each array of a layer, in order."""
    return [float(np.unique(array).item()) for array in arrays.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_what_keras_3_saves_is_read_by_layer_name(model, tmp_path, name):
    save = model.save_weights if ".weights." in name else model.save
    save(tmp_path / name)
    layers = (read_keras if name.endswith("keras") else read_hdf5)(tmp_path / name)
    assert layers["conv1"].keys() in ({"0", "1"}, {"kernel", "bias"})
    assert layers["conv1"]["0" if "0" in layers["conv1"] else "kernel"].shape == (3, 3, 3, 2)
    assert constant(layers["conv1"]) == [0, 1]
    assert constant(layers["bn1"]) == [2, 3, 4, 5]
    assert constant(layers["inner_a"]) == [6, 7]
    assert constant(layers["inner_b"]) == [8, 9]


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_a_wrapped_layer_is_found_by_its_own_name_and_by_its_wrappers(model, tmp_path, name):
    save = model.save_weights if ".weights." in name else model.save
    save(tmp_path / name)
    layers = (read_keras if name.endswith("keras") else read_hdf5)(tmp_path / name)
    assert constant(layers["fc"]) == constant(layers["fc_td"]) == [10, 11]


@pytest.mark.slow
def test_the_optimizers_variables_are_no_weights(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="fc")])
    model.compile("adam", "mse")
    model.fit(np.zeros((1, 2)), np.zeros((1, 1)), verbose=0)
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    assert list(read_keras(tmp_path / "m.keras")) == ["fc"]
    assert list(read_hdf5(tmp_path / "m.h5")) == ["fc"]


@pytest.mark.parametrize("under", ["", "model_weights"])
def test_keras_2_weights_and_full_models_are_read_alike(tmp_path, under):
    kernel = np.ones((3, 3))
    weights = {"conv1": {"conv1/kernel:0": kernel}, "relu": {}}
    write_legacy(tmp_path / "w.h5", weights, under=under)
    layers = read_hdf5(tmp_path / "w.h5")
    assert list(layers) == ["conv1"]
    np.testing.assert_array_equal(layers["conv1"]["kernel"], kernel)


def test_a_graph_scope_in_a_weights_name_is_not_its_layer(tmp_path):
    write_legacy(tmp_path / "w.h5", {"conv1": {"conv1_2/kernel:0": np.ones(1)}})
    assert constant(read_hdf5(tmp_path / "w.h5")["conv1"]) == [1]


def test_a_scope_does_not_hide_the_layer_of_that_name(tmp_path):
    write_legacy(
        tmp_path / "w.h5",
        {"conv": {"conv_1/kernel:0": np.ones(1)}, "conv_1": {"conv_1/kernel:0": np.zeros(1)}},
    )
    assert constant(read_hdf5(tmp_path / "w.h5")["conv_1"]) == [0]


def test_layers_of_a_nested_keras_2_model_are_found_by_their_names(tmp_path):
    nested = {"a/kernel:0": np.full(1, 1.0), "b/kernel:0": np.full(1, 2.0)}
    write_legacy(tmp_path / "w.h5", {"model_1": nested})
    layers = read_hdf5(tmp_path / "w.h5")
    assert sorted(layers) == ["a", "b"]
    assert constant(layers["b"]) == [2]


def test_the_config_of_a_keras_2_model_tells_what_a_wrapper_wraps(tmp_path):
    wrapped = {"class_name": "Conv2D", "config": {"name": "block_4a_conv_1"}}
    wrapper = {"class_name": "TimeDistributed", "config": {"name": "td_7", "layer": wrapped}}
    config = json.dumps({"class_name": "Model", "config": {"layers": [wrapper]}})
    weights = {"td_7": {"td_7/kernel:0": np.ones(1)}}
    write_legacy(tmp_path / "m.hdf5", weights, under="model_weights", model_config=config)
    layers = read_hdf5(tmp_path / "m.hdf5")
    assert constant(layers["block_4a_conv_1"]) == constant(layers["td_7"]) == [1]


def test_a_list_of_names_that_keras_cut_into_chunks_is_joined(tmp_path):
    write_legacy(tmp_path / "w.h5", {"a": {"k": np.zeros(1)}, "b": {"k": np.ones(1)}})
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"a"], [b"b"]
    assert list(read_hdf5(tmp_path / "w.h5")) == ["a", "b"]


def test_a_file_that_does_not_name_its_layers_says_so(tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(1)
    with pytest.raises(ModelFileError, match="does not name its layers"):
        read_hdf5(tmp_path / "m.weights.h5")


def test_an_hdf5_file_of_something_else_says_so(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(ModelFileError, match="holds no weights"):
        read_hdf5(tmp_path / "data.h5")


@pytest.mark.slow
def test_a_truncated_file_says_so(model, tmp_path):
    model.save(tmp_path / "m.h5")
    data = (tmp_path / "m.h5").read_bytes()
    (tmp_path / "m.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="truncated"):
        read_hdf5(tmp_path / "m.h5")
