import pickle

import keras
import numpy as np
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import archive
from frcnn_core.weights import assign, read_weights

KERNEL = np.arange(6, dtype=np.float32).reshape(1, 1, 3, 2)


def network(**convolution):
    """Input, conv1 (1x1, 3 to 2 channels), relu."""
    images = keras.Input((2, 2, 3))
    x = keras.layers.Conv2D(2, 1, name="conv1", **convolution)(images)
    return keras.Model(images, keras.layers.ReLU(name="relu")(x))


def statuses(report):
    return {row.layer: row.status for row in report.layers if row.kind != "InputLayer"}


def test_a_layer_takes_the_weights_of_the_layer_of_its_name():
    model = network()
    report = assign([model], {"conv1": {"kernel": KERNEL, "bias": np.array([5.0, 7.0])}})
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, KERNEL)
    np.testing.assert_array_equal(model.get_layer("conv1").bias, [5, 7])
    assert statuses(report) == {"conv1": "Yes", "relu": "None"}


def test_named_variables_are_matched_by_name_whatever_their_order():
    model = network()
    assign([model], {"conv1": {"bias": np.array([5.0, 7.0]), "kernel": KERNEL}})
    np.testing.assert_array_equal(model.get_layer("conv1").bias, [5, 7])


def test_numbered_variables_are_matched_by_their_order():
    model = network()
    assign([model], {"conv1": {"0": KERNEL, "1": np.array([5.0, 7.0])}})
    np.testing.assert_array_equal(model.get_layer("conv1").bias, [5, 7])


def test_the_old_name_of_a_depthwise_kernel_is_known():
    images = keras.Input((2, 2, 3))
    model = keras.Model(images, keras.layers.DepthwiseConv2D(1, name="dw")(images))
    assign([model], {"dw": {"bias": np.zeros(3), "depthwise_kernel": np.ones((1, 1, 3, 1))}})
    np.testing.assert_array_equal(model.get_layer("dw").kernel, np.ones((1, 1, 3, 1)))


def test_weights_equal_to_the_models_own_count_as_loaded():
    model = network(use_bias=False)
    own = np.asarray(model.get_layer("conv1").kernel)
    assert statuses(assign([model], {"conv1": {"kernel": own}}))["conv1"] == "Yes"


def test_another_shape_is_skipped_and_the_table_says_which():
    first, second = network(use_bias=False), network(use_bias=False)
    second.get_layer("conv1").name = "conv2"
    before = np.asarray(second.get_layer("conv2").kernel)
    source = {"conv1": {"kernel": KERNEL}, "conv2": {"kernel": np.zeros((3, 3, 3, 2))}}
    report = assign([first, second], source)
    np.testing.assert_array_equal(second.get_layer("conv2").kernel, before)
    assert "No (kernel is (3, 3, 3, 2) in the file, (1, 1, 3, 2) here)" in report.table()
    assert report.summary().startswith("Loaded the weights of 1 of 2 layers; 0 layers")


@pytest.mark.parametrize("names", [("kernel", "bias"), ("0", "1")])
def test_a_layer_without_the_bias_of_the_files_is_skipped_whole(names):
    other = network(use_bias=False)
    other.get_layer("conv1").name = "conv2"
    arrays = dict(zip(names, (KERNEL, np.array([0.0, 1.0])), strict=True))
    report = assign([network(), other], {"conv1": arrays, "conv2": arrays})
    assert report.layers[-2].reason == (
        "2 arrays in the file, 1 in the model; model_config.use_bias: True takes them"
    )


@pytest.mark.parametrize("names", [("kernel", "bias"), ("0", "1")])
def test_a_bias_of_zeros_is_not_missed(names):
    arrays = dict(zip(names, (KERNEL, np.zeros(2)), strict=True))
    model = network(use_bias=False)
    assert statuses(assign([model], {"conv1": arrays}))["conv1"] == "Yes"
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, KERNEL)


@pytest.mark.parametrize("name", ["kernel", "0"])
def test_a_bias_that_the_file_lacks_becomes_0(name):
    model = network(bias_initializer="ones")
    report = assign([model], {"conv1": {name: KERNEL}})
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, KERNEL)
    np.testing.assert_array_equal(model.get_layer("conv1").bias, [0, 0])
    assert "Yes (its bias is 0)" in report.table()


def test_layers_of_nested_models_are_reached():
    inner = network(use_bias=False)
    images = keras.Input((2, 2, 3))
    report = assign([keras.Model(images, inner(images))], {"conv1": {"kernel": KERNEL}})
    assert statuses(report)["conv1"] == "Yes"
    np.testing.assert_array_equal(inner.get_layer("conv1").kernel, KERNEL)


def test_a_backbone_may_say_what_the_file_calls_a_layer():
    source = {"conv1_conv": {"kernel": KERNEL}, "top": {"kernel": np.zeros(1)}}
    model = network(use_bias=False)
    report = assign([model], source, pretrained_name=lambda name: name + "_conv")
    assert statuses(report)["conv1"] == "Yes"
    assert report.unused == ("top",)


def test_not_one_common_name_is_an_error_that_shows_both_sides():
    with pytest.raises(ModelFileError, match=r"(?s)file: stem.*model: conv1.*same arch"):
        assign([network()], {"stem": {"kernel": KERNEL}})


def test_common_names_of_which_none_fits_is_an_error_too():
    with pytest.raises(ModelFileError, match=r"conv1: kernel is \(1,\) in the file"):
        assign([network(use_bias=False)], {"conv1": {"kernel": np.zeros(1)}})


@pytest.mark.parametrize("name", ["w.keras", "w.weights.h5", "w.hdf5"])
def test_every_keras_format_fills_an_equal_network(tmp_path, name):
    trained, fresh = network(), network()
    save = trained.save_weights if ".weights." in name else trained.save
    save(tmp_path / name)
    assign([fresh], read_weights(tmp_path / name))
    for mine, theirs in zip(fresh.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_our_own_model_files_are_read_with_their_key(tmp_path):
    weights = {"features/conv1/kernel": KERNEL, "rpn/bn1/gamma": np.ones(2)}
    archive.write(tmp_path / "m.tlt", archive.Archive({}, "", {}, weights), "secret")
    layers = read_weights(tmp_path / "m.tlt", "secret")
    assert {name: list(arrays) for name, arrays in layers.items()} == {
        "conv1": ["kernel"],
        "bn1": ["gamma"],
    }


def test_a_legacy_tlt_says_how_its_weights_can_be_had(tmp_path):
    (tmp_path / "old.tlt").write_bytes(bytes(range(200, 250)))
    with pytest.raises(ModelFileError, match=r"NVIDIA.*Decrypt it to \.hdf5"):
        read_weights(tmp_path / "old.tlt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), "a PyTorch file"),
        (b"\x80\x02", "of no kind known here"),
    ],
)
def test_a_file_of_another_kind_says_what_can_be_read(tmp_path, content, kind):
    (tmp_path / "w.pth").write_bytes(content)
    says = rf"w\.pth is {kind} and .* takes a model file of frcnn or Keras weights"
    with pytest.raises(ModelFileError, match=says):
        read_weights(tmp_path / "w.pth")
