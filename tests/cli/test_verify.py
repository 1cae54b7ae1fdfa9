"""``frcnn export verify`` as typed, on a toy detector and what was exported from it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import toy
from click.testing import CliRunner

from frcnn_core import Exporter, assemble
from frcnn_core.cli import main
from frcnn_core.cli.verify import COST_IMAGES
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.model_files import archive
from frcnn_core.plugin.components import LayerCost, Runtime
from frcnn_core.plugin.registry import Registered

pytestmark = pytest.mark.slow

KEY = "secret"
NUM_IMAGES = 5
INFERENCE = "inference_config { rpn_nms_max_boxes: 20 classifier_nms_max_boxes: 10 }\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes, a spec, a model, a SavedModel of it, and a model of other weights."""
    folder = tmp_path_factory.mktemp("verify")
    for name in ("train", "val"):
        toy.write_scenes(folder, name, NUM_IMAGES, seed=len(name))
    spec = toy.spec_text(folder, validation=toy.validated_on(folder, "val")) + INFERENCE
    (folder / "spec.txt").write_text(spec)
    model = replace(toy.model(), spec=spec)
    archive.write(folder / "model.tlt", model.to_archive(), KEY)
    archive.write(folder / "other.tlt", toy.model(seed=2).to_archive(), KEY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("frcnn_core.plugin.installed", toy.plugins)
        result = frcnn("saved_model", "-m", folder / "model.tlt", "-k", KEY, "-o", folder / "saved")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(autouse=True)
def toy_is_installed(monkeypatch):
    monkeypatch.setattr("frcnn_core.plugin.installed", toy.plugins)


def frcnn(*arguments):
    result = CliRunner().invoke(main, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def verify(folder, *more, model="model.tlt", exported="saved", spec="spec.txt"):
    paths = folder / model, folder / exported
    return frcnn("verify", *paths, "-e", folder / spec, "-k", KEY, *more)


# An exact export ----------------------------------------------------------------------------------


def test_an_export_is_within_the_limits_of_its_model(folder, tmp_path):
    result = verify(folder, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    assert "saved is within the limits of model.tlt." in result.output
    assert f"the {NUM_IMAGES} validation images of {folder}/spec.txt" in result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["same"] is True
    assert found["precision"] == "fp32"
    assert found["num_images"] == NUM_IMAGES
    assert found["settings"]["classifier_nms_max_boxes"] == 10
    overall = found["differences"]["overall"]
    assert overall["num_pairs"] > 0
    assert (overall["num_lost"], overall["num_gained"]) == (0, 0)
    assert overall["box"]["largest"] < 1e-3
    assert found["metrics"]["voc12"]["model"] == found["metrics"]["voc12"]["exported"]
    assert found["layer_costs"] == []


def test_a_model_of_other_weights_is_told_from_the_export(folder):
    result = verify(folder, model="other.tlt")
    assert result.exit_code == 1, result.output
    assert "saved is not within the limits:" in result.output
    assert "more than 0.05 px." in result.output
    assert "is gained." in result.output or "are gained." in result.output
    assert "Lost" in result.output


def test_a_folder_of_images_needs_no_labels_and_gives_no_map(folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in list((folder / "images").iterdir())[:2]:
        (images / path.name).write_bytes(path.read_bytes())
    (images / "damaged.png").write_bytes(b"no image")
    (images / "notes.txt").write_text("not an image")
    (tmp_path / "spec.txt").write_text(INFERENCE)  # dataset_config is not read
    paths = folder / "model.tlt", folder / "saved"
    command = ["verify", *paths, "-k", KEY, "-e", tmp_path / "spec.txt", "-i", images]
    result = frcnn(*command, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    assert "Skipped damaged.png" in result.output
    assert "Skipped notes.txt" in result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["num_images"], found["metrics"], found["map_loss"]) == (2, {}, None)

    refused = frcnn(*command, "--max-map-loss", 0.1)
    assert refused.exit_code == 2
    assert "images without labels (-i) have no mAP" in refused.output


def test_only_the_first_images_are_compared_where_so_asked(folder, tmp_path):
    result = verify(folder, "--num", 3, "-b", 2, "--json", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    assert "the first 3 validation images" in result.output
    assert json.loads((tmp_path / "found.json").read_text())["num_images"] == 3


def test_settings_that_are_fixed_in_the_file_are_used_for_both_with_a_warning(folder, tmp_path):
    text = (folder / "spec.txt").read_text()
    other = text.replace("classifier_nms_max_boxes: 10", "classifier_nms_max_boxes: 2")
    (tmp_path / "spec.txt").write_text(other)
    result = verify(folder, spec=tmp_path / "spec.txt")
    assert result.exit_code == 0, result.output
    assert (
        "as it was exported, not as the spec says: classifier_nms_max_boxes 10 instead of 2"
        in result.output
    )


def test_a_folder_without_a_usable_image_is_an_error(folder, tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"no image")
    result = verify(folder, "-i", tmp_path)
    assert result.exit_code == 2, result.output
    assert f"None of 1 images of {tmp_path} could be used." in result.output


# What cannot be compared --------------------------------------------------------------------------


def refused(folder, *more, **files):
    result = verify(folder, *more, **files)
    assert result.exit_code == 2, result.output
    return result.output


def test_a_file_of_other_classes_or_other_preprocessing_is_no_export_of_the_model(folder):
    model = toy.model()
    changed = replace(
        model,
        class_names=("blue", "green"),
        preprocessing=replace(model.preprocessing, channel_order="bgr"),
    )
    archive.write(folder / "changed.tlt", changed.to_archive(), KEY)
    output = refused(folder, exported="changed.tlt")
    assert "changed.tlt is not an export of" in output
    assert "Its classes are blue, green, but those of" in output
    assert "bgr, (pixel - (40, 40, 40)) / 60, but" in output


def test_an_existing_json_file_is_not_replaced_unasked(folder, tmp_path):
    (tmp_path / "found.json").write_text("mine")
    assert "exists" in refused(folder, "--json", tmp_path / "found.json")
    assert (tmp_path / "found.json").read_text() == "mine"


def test_a_missing_file_a_wrong_key_and_a_missing_validation_set_are_named(folder, tmp_path):
    assert "absent.onnx: there is no such file." in refused(folder, exported="absent.onnx")
    assert "absent.tlt" in refused(folder, model="absent.tlt")
    assert "the key is wrong" in refused(folder, "-k", "guess")
    (tmp_path / "spec.txt").write_text(toy.spec_text(folder) + INFERENCE)
    assert "there is nothing to evaluate on" in refused(folder, spec=tmp_path / "spec.txt")


# Int8 -------------------------------------------------------------------------------------------


class Coarse(Exporter):
    """Runs the toy detector with its boxes moved by a pixel, as if by int8."""

    name = "coarse"
    suffix = ".coarse"
    precision = "int8"

    def __init__(self, model, exact):
        self.model, self.exact = model, exact

    def export(self, model, output, *, settings, options, images=None):
        raise AssertionError("nothing is exported here")

    def load(self, path, *, key=""):
        model = self.model

        def detect(images, sizes):
            found = self.exact(images, sizes)
            moved = np.asarray(found.boxes) + np.float32(1.0)
            return found._replace(boxes=moved, proposals=None)

        return Runtime(detect, model.class_names, model.preprocessing, precision=self.precision)

    def layer_costs(self, path, images):
        first, again = (list(images.batches()) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert [batch.shape for batch in first] == [(1, toy.SIDE, toy.SIDE, 3)] * COST_IMAGES
        assert images.num_batches == COST_IMAGES
        layers = ("features/conv1", "rpn/rpn_conv1", "head/dense_class")
        return [LayerCost(layer, 0.1 / 10**i) for i, layer in enumerate(layers)]


@pytest.fixture(scope="module")
def exact():
    """The toy detector, and its function, which is built once."""
    settings = DetectionSettings(rpn_nms_max_boxes=20, classifier_nms_max_boxes=10)
    model = toy.model()
    return model, assemble.detect_function(model, settings)


@pytest.fixture
def coarse(folder, exact, monkeypatch):
    exporter = Coarse(*exact)

    def installed():
        found = toy.plugins()
        found.exporters.add(Registered(exporter, "coarse", "acme 1.0"))
        return found

    monkeypatch.setattr("frcnn_core.plugin.installed", installed)
    (folder / "model.coarse").write_text("int8")
    return exporter


@pytest.mark.parametrize("precision", ["int8", ""])
def test_an_int8_file_is_judged_by_its_map_and_its_costliest_layers_are_named(
    folder, coarse, tmp_path, precision
):
    coarse.precision = precision  # a runtime need not tell: costs do
    out = tmp_path / "found.json"
    result = verify(folder, "--layers", 2, "--json", out, exported="model.coarse")
    assert result.exit_code == 0, result.output
    assert "model.coarse (int8)" in result.output
    assert "  --keep_float features/conv1,rpn/rpn_conv1\n" in result.output
    found = json.loads(out.read_text())
    assert found["limits"] == {"box": None, "score": None, "map_loss": 0.02}
    # At the right and bottom border boxes are cut, so that only the others move by a whole pixel.
    assert found["differences"]["overall"]["box"]["largest"] == pytest.approx(1.0, abs=1e-4)
    assert found["keep_float"] == ["features/conv1", "rpn/rpn_conv1"]
    assert len(found["layer_costs"]) == 3


def test_limits_of_ones_own_hold_for_int8_too(folder, coarse):
    result = verify(folder, "--max-box", 0.5, "--layers", 0, exported="model.coarse")
    assert result.exit_code == 1, result.output
    assert "Boxes differ by up to 1 px, more than 0.5 px." in result.output
    assert "--keep_float" not in result.output


def test_int8_on_images_without_labels_needs_limits_of_ones_own(folder, coarse):
    images = "-i", folder / "images", "--num", NUM_IMAGES
    output = refused(folder, *images, exported="model.coarse")
    assert "judged by its mAP, and images without labels (-i) have none" in output
    assert "--max-box PIXELS" in output
    result = verify(folder, *images, "--max-box", 1.5, exported="model.coarse")
    assert result.exit_code == 0, result.output
