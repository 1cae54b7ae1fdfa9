import keras
import pytest
import toy

from frcnn_core import assemble
from frcnn_core.spec.load import loads


def small(text):
    return loads(text, "spec.txt")


def spec_of(folder, **given):
    return small(toy.spec_text(folder, **given))


@pytest.mark.parametrize(
    "text, kind, amount",
    [
        ("type: L2 weight: 0.25", keras.regularizers.L2, "l2"),
        ("type: L1 weight: 0.25", keras.regularizers.L1, "l1"),
    ],
)
def test_regularizers_are_kerass_without_a_half(text, kind, amount):
    found = assemble.regularizer(small(f"training_config {{ regularizer {{ {text} }} }}"))
    assert isinstance(found, kind)
    assert getattr(found, amount) == 0.25


def test_no_reg_is_no_regularizer():
    spec = small("training_config { regularizer { type: NO_REG weight: 0.25 } }")
    assert assemble.regularizer(spec) is None


@pytest.mark.slow
def test_a_model_is_drawn_as_the_spec_says(tmp_path):
    spec = spec_of(tmp_path, model="freeze_blocks: 1 freeze_bn: True use_bias: True")
    model = assemble.new_model(spec, toy.plugins())
    assert model.class_names == ("blue", "red")
    assert model.arch == "toy"
    assert model.spec == spec.text
    assert [entry["name"] for entry in model.provenance] == ["toy"]
    features = model.detector.features
    assert [features.get_layer(f"conv{i}").trainable for i in range(4)] == [True, False, True, True]
    assert features.get_layer("conv2").use_bias
    assert features.get_layer("conv2").kernel_regularizer.l2 == pytest.approx(1e-5)
    assert features.get_layer("conv2_bn").frozen_statistics
    assert model.detector.head.input.shape == (None, 3, 3, 16)
    assert model.detector.anchors.scales == (16.0, 32.0)
    assert model.detector.regression_scale == (10.0, 10.0, 5.0, 5.0)


@pytest.mark.slow
def test_fresh_weights_are_a_function_of_the_seed(tmp_path):
    one, same, other = (
        assemble.new_model(spec_of(tmp_path, seed=seed), toy.plugins()).to_archive().weights
        for seed in (1, 1, 2)
    )
    assert all((one[name] == same[name]).all() for name in one)
    assert (one["features/conv0/kernel"] != other["features/conv0/kernel"]).any()
