import dataclasses

import numpy as np
import openvino
import pytest

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_core.preprocessing import Preprocessing
from frcnn_core.testing.exporter import HEIGHT, WIDTH, ExporterContract, small_model
from frcnn_openvino import OpenVino
from frcnn_openvino.options import OpenVinoOptions

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)


class TestOpenVino(ExporterContract):
    exporter = OpenVino()
    given = {"image_sizes": "true"}  # noqa: RUF012


@pytest.fixture(scope="module")
def model():
    return small_model()


def export(model, folder, **options):
    path = folder / "model.xml"
    OpenVino().export(model, path, settings=SETTINGS, options=OpenVinoOptions(**options))
    return path


def pictures(count=2):
    return np.random.default_rng(0).standard_normal((count, HEIGHT, WIDTH, 3), "float32")


def compare(path, model, images, *, atol=1e-3):
    """What the file finds against what the model finds; nothing in the images is padding."""
    sizes = np.tile(np.float32([HEIGHT, WIDTH]), (len(images), 1))
    expected = model.detector.detect(images, sizes, SETTINGS)
    found = OpenVino().load(path).detect(images, sizes)
    assert expected.counts.numpy().min() > 0, "a test in which nothing is found shows nothing"
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=atol, err_msg=name
        )


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": "nms"},
        {"outputs": "named", "embed_preprocessing": True},
        {"outputs": "nms", "embed_preprocessing": True},
    ],
    ids=["rows of NMS", "embedded, named", "embedded, rows of NMS"],
)
def test_whatever_its_inputs_and_outputs_it_runs_on_preprocessed_images(model, tmp_path, options):
    compare(export(model, tmp_path, **options), model, pictures())


def test_a_file_of_a_fixed_batch_runs_any_number_of_images(model, tmp_path):
    path = export(model, tmp_path, static_batch_size=2)
    compare(path, model, pictures(1))
    compare(path, model, pictures(3))


def test_float16_halves_the_weights_and_leaves_anchors_as_they_are(model, tmp_path):
    path = export(model, tmp_path, data_type="fp16")
    compare(path, model, pictures(), atol=0.05)
    assert OpenVino().load(path).precision == "fp16"
    graph = openvino.Core().read_model(str(path))
    halves = {
        node.get_friendly_name().split("/")[0]
        for node in graph.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.f16
    }
    assert halves == {"features", "rpn", "head"}
    weights = sum(part.count_params() for part in model.detector.parts.values())
    others = path.with_suffix(".bin").stat().st_size - 2 * weights
    assert 0 < others < 2 * weights


def test_pixels_are_preprocessed_in_the_graph(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 131, 3), np.uint8)
    preprocessing = Preprocessing(HEIGHT, WIDTH, means=(128.0,) * 3, scale=64.0)
    model = dataclasses.replace(model, preprocessing=preprocessing)
    path = export(model, tmp_path, embed_preprocessing=True)
    fitted = [model.preprocessing.fit(image) for image in images]
    inputs = model.preprocessing.normalize(np.stack([one.image for one in fitted]))
    sizes = np.stack([one.size for one in fitted])
    expected = model.detector.detect(inputs, sizes, SETTINGS)
    assert expected.counts.numpy().min() > 0
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.compile_model(str(path), "CPU", precise)(images)
    scale = np.tile([one.scale for one in fitted], 2)[:, None, :]
    np.testing.assert_array_equal(found["counts"], expected.counts)
    np.testing.assert_allclose(found["boxes"], expected.boxes / scale, atol=2e-3)


def test_the_xml_names_classes_and_preprocessing_in_its_rt_info(model, tmp_path):
    path = export(model, tmp_path)
    said = openvino.Core().read_model(str(path)).get_rt_info(["framework"]).value
    assert said["frcnn.class_names"] == '["car", "person"]'
    runtime = OpenVino().load(path)
    assert runtime.class_names == ("car", "person")
    assert runtime.preprocessing == Preprocessing(HEIGHT, WIDTH)
    assert runtime.settings == SETTINGS


def test_weights_that_are_there_already_are_not_replaced(model, tmp_path):
    tmp_path.joinpath("model.bin").write_text("mine")
    with pytest.raises(FrcnnError, match=r"model\.bin exists\. Give another name"):
        export(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
    assert tmp_path.joinpath("model.bin").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    ["", "<annotation><net/></annotation>", '<?xml version="1.0"?>\n<network name="net"/>'],
    ids=["empty", "labels", "another root"],
)
def test_other_xml_files_are_not_taken_for_a_representation(tmp_path, text):
    path = tmp_path / "labels.xml"
    path.write_text(text)
    assert not OpenVino().recognises(path)
    assert not OpenVino().recognises(tmp_path / "absent.xml")
    assert not OpenVino().recognises(tmp_path)


def test_a_representation_of_another_program_says_so(tmp_path):
    given = openvino.opset13.parameter([1], np.float32)
    openvino.save_model(openvino.Model([given], [given]), str(tmp_path / "other.xml"))
    assert OpenVino().recognises(tmp_path / "other.xml")
    with pytest.raises(ModelFileError, match=r"other\.xml was not exported by frcnn"):
        OpenVino().load(tmp_path / "other.xml")


def test_without_its_weights_a_file_says_what_is_missing(model, tmp_path):
    path = export(model, tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(ModelFileError, match=r"model\.bin is missing"):
        OpenVino().load(path)
