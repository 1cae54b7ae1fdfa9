"""``frcnn weights`` as typed."""

import keras
import numpy as np
import pytest
import toy
from click.testing import CliRunner

from frcnn_core import weights
from frcnn_core.cli import main
from frcnn_core.spec.load import loads
from frcnn_core.weights import Origin


def frcnn(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


# import ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A file of keras.applications' MobileNetV2 with random weights."""
    path = tmp_path_factory.mktemp("keras") / "mobilenet.keras"
    keras.applications.MobileNetV2(weights=None, classes=2, input_shape=(64, 64, 3)).save(path)
    return path


@pytest.mark.slow
def test_an_import_says_what_it_found_and_what_the_spec_has_to_say(mobilenet, tmp_path):
    output = tmp_path / "out.h5"
    result = frcnn("weights", "import", mobilenet, "-a", "mobilenet_v2", "-o", output)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "mobilenet.keras (keras): the weights of 104 of 104 layers of mobilenet_v2."
    assert "Not needed: 1 of its layers or tensors: predictions." in lines
    assert '  backbone_options { key: "padding" value: "tensorflow" }' in lines
    assert f'  pretrained_weights: "{output}"' in lines


@pytest.mark.slow
def test_the_head_can_be_left_out(mobilenet, tmp_path):
    output = tmp_path / "out.h5"
    result = frcnn(
        "weights", "import", mobilenet, "-a", "mobilenet_v2", "-o", output, "--without_head"
    )
    assert "Left out, all of the head: block_13_expand," in result.output
    layers = weights.read_weights(output)
    assert "block_12_project_bn" in layers
    assert not [name for name in layers if name.startswith(("block_13", "block_16", "conv_1"))]


@pytest.mark.slow
def test_what_an_import_prints_is_a_spec(mobilenet, tmp_path):
    output = tmp_path / "out.h5"
    result = frcnn("weights", "import", mobilenet, "-a", "mobilenet_v2", "-o", output)
    message = loads(result.output.partition("says:\n")[2]).message
    assert message.model_config.arch == "mobilenet_v2"
    assert dict(message.model_config.backbone_options) == {"padding": "tensorflow", "relu6": "true"}
    assert message.model_config.input_image_config.image_scaling_factor == 127.5
    assert message.training_config.pretrained_weights == str(output)


@pytest.mark.slow
def test_an_import_replaces_no_file(mobilenet, tmp_path):
    output = tmp_path / "mine.h5"
    output.write_text("mine")
    result = frcnn("weights", "import", mobilenet, "-a", "mobilenet_v2", "-o", output)
    assert result.exit_code == 2
    assert f"{output} exists" in result.output
    assert output.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch, message",
    [
        ("mobilnet_v2", "--arch: no backbone is called 'mobilnet_v2'.\n  Did you mean"),
        ("resnet:20", "--arch: 'resnet:20' is not available."),
        ("mobilenet_v1", "is no mobilenet_v1: it has no layer 'conv1'"),
        ("googlenet", "none can become googlenet: "),
    ],
)
def test_a_wrong_arch_is_the_users_mistake(arch, message, mobilenet, tmp_path):
    result = frcnn("weights", "import", mobilenet, "-a", arch, "-o", tmp_path / "out.h5")
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_a_file_of_no_weights_says_what_can_be_imported(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing")
    result = frcnn("weights", "import", path, "-a", "resnet:18", "-o", tmp_path / "out.h5")
    assert result.exit_code == 2
    assert "What can be imported are files of keras.applications" in result.output


# doctor ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy detector whose statistics are those of its scenes: spec file and model file."""
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 16, seed=0)
    spec = folder / "spec.txt"
    # Without pretrained weights, freeze_bn measures the statistics.
    spec.write_text(
        toy.spec_text(folder, epochs=1, model="freeze_bn: True", rate=1e-6, optimizer="sgd { }")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frcnn_core.plugin.installed", toy.plugins)
        result = frcnn("train", "-e", spec, "-r", folder / "results")
        assert result.exit_code == 0, result.output
    return spec, folder / "results/frcnn_toy.epoch_1.tlt"


@pytest.fixture
def doctor(trained, monkeypatch):
    monkeypatch.setattr("frcnn_core.plugin.installed", toy.plugins)

    def doctor(path, *more, spec=trained[0]):
        return frcnn("weights", "doctor", path, "-e", spec, *more)

    return doctor


@pytest.mark.slow
def test_weights_that_see_what_they_saw_fit(doctor, trained):
    result = doctor(trained[1])
    assert result.exit_code == 0, result.output
    assert "Looking at 16 images" in result.output
    rows = [line.split() for line in result.output.splitlines() if "_bn" in line]
    assert [row[0] for row in rows] == [*(f"conv{i}_bn" for i in range(4)), "head_conv_bn"]
    assert [row[1] for row in rows] == ["8", "8", "16", "16", "16"]
    assert float(rows[0][2]) > 0.9
    assert "these weights fit" in result.output


@pytest.mark.slow
def test_kernels_in_another_order_look_wrong(doctor, trained, tmp_path):
    layers = weights.read_weights(trained[1])
    for arrays in layers.values():
        kernel = arrays.get("kernel")
        if kernel is not None and kernel.ndim == 4:  # written (filters, C, k, k), read as ours
            arrays["kernel"] = kernel.transpose(3, 2, 0, 1).reshape(kernel.shape)
    origin = Origin("toy", "a test", "rgb", (40.0,) * 3, 60.0)
    weights.write_weights(tmp_path / "shuffled.h5", layers, origin)
    result = doctor(tmp_path / "shuffled.h5")
    assert result.exit_code == 2
    assert "These weights look wrong" in result.output


@pytest.mark.slow
def test_another_preprocessing_is_told_with_those_that_fit_better(doctor, trained, tmp_path):
    spec = tmp_path / "spec.txt"
    text = trained[0].read_text()
    spec.write_text(text.replace("image_scaling_factor: 60", "image_scaling_factor: 0.1"))
    result = doctor(trained[1], spec=spec)
    assert result.exit_code == 2
    # The file itself says so too.
    assert "trained otherwise than the spec says. Write:" in result.output
    assert "image_scaling_factor: 60" in result.output
    better = result.output.partition("images prepared otherwise")[2].splitlines()[1:]
    names = [line.partition("(")[0].strip() for line in better if " (" in line]
    assert "torchvision" in names and names[-1] == "the spec"
    assert "Doubtful" not in result.output


@pytest.mark.slow
def test_a_folder_without_images_says_how_to_give_another(doctor, trained, tmp_path):
    result = doctor(trained[1], "-i", tmp_path)
    assert result.exit_code == 2
    assert f"No image was found in {tmp_path}. Give a folder of images with -i." in result.output


@pytest.mark.slow
def test_no_preprocessing_is_guessed_where_the_first_statistics_are_missing(
    doctor, trained, tmp_path
):
    layers = weights.read_weights(trained[1])
    del layers["conv0_bn"]
    origin = Origin("toy", "a test", "rgb", (40.0,) * 3, 60.0)
    weights.write_weights(tmp_path / "w.h5", layers, origin)
    result = doctor(tmp_path / "w.h5", "-n", "4")
    assert "Looking at 4 images" in result.output
    assert "Median correlation" in result.output and "prepared otherwise" not in result.output


@pytest.mark.slow
def test_weights_without_statistics_say_that_nothing_can_be_said(doctor, tmp_path):
    layers = {"conv0": {"kernel": np.ones((3, 3, 3, 8), "float32")}}
    weights.write_weights(
        tmp_path / "w.h5", layers, Origin("toy", "a test", "rgb", (40.0,) * 3, 60.0)
    )
    result = doctor(tmp_path / "w.h5")
    assert result.exit_code == 0
    assert "Nothing can be said." in result.output
