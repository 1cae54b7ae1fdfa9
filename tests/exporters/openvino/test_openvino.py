import dataclasses
import json

import numpy as np
import openvino
import pytest
from processor import needs_exact_int8

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_core.plugin.int8 import CalibrationImages
from frcnn_core.testing.exporter import HEIGHT, WIDTH, ExporterContract, small_model
from frcnn_onnx import Onnx
from frcnn_onnx.options import OnnxOptions
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_file_of_a_fixed_batch_runs_any_number_of_images(model, tmp_path):
    path = export(model, tmp_path, static_batch_size=2)
    compare(path, model, pictures(1))
    compare(path, model, pictures(3))


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def int8(model, tmp_path_factory):
    """The same int8 detector as OpenVINO's representation and as ONNX, and its ranges in JSON."""
    folder = tmp_path_factory.mktemp("int8")
    images = CalibrationImages(lambda: iter([pictures()]), num_batches=1, source="noise")
    shared = {"data_type": "int8", "range_finder": "minmax", "outputs": "named"}
    options = OpenVinoOptions(**shared, cal_json_file=folder / "ranges.json")
    written = OpenVino().export(
        model, folder / "model.xml", settings=SETTINGS, options=options, images=images
    )
    assert [path.name for path in written] == ["model.xml", "model.bin", "ranges.json"]
    Onnx().export(
        model,
        folder / "model.onnx",
        settings=SETTINGS,
        options=OnnxOptions(**shared),
        images=images,
    )
    return folder


@pytest.mark.slow
@needs_exact_int8
def test_int8_finds_what_the_same_graph_finds_in_onnx_runtime(int8):
    runtime = OpenVino().load(int8 / "model.xml")
    assert runtime.precision == "int8"
    sizes = np.float32([[HEIGHT, WIDTH]] * 2)
    found = runtime.detect(pictures(), sizes)
    expected = Onnx().load(int8 / "model.onnx").detect(pictures(), sizes)
    assert expected.counts.min() > 0
    np.testing.assert_array_equal(found.classes, expected.classes)
    # A number between two codes may be rounded either way.
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.2)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)


def test_in_int8_kernels_have_8_bits(model, int8):
    graph = openvino.Core().read_model(str(int8 / "model.xml"))
    sizes = [
        node.data.size
        for node in graph.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.i8
    ]
    kernels = [
        weight.shape.num_elements()
        for part in model.detector.parts.values()
        for weight in map(lambda variable: variable.value, part.trainable_variables)
        if weight.shape.rank > 1
    ]
    assert set(kernels) <= set(sizes)


def test_ranges_are_written_where_they_are_asked_for(int8):
    ranges = json.loads((int8 / "ranges.json").read_text())["tensor_scales"]
    # Of min-max, the largest absolute value of the images that were measured.
    assert ranges["input_image"] == pytest.approx(np.abs(pictures()).max())


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_xml_names_classes_and_preprocessing_in_its_rt_info(model, tmp_path):
    path = export(model, tmp_path)
    said = openvino.Core().read_model(str(path)).get_rt_info(["framework"]).value
    assert said["frcnn.class_names"] == '["car", "person"]'
    runtime = OpenVino().load(path)
    assert runtime.class_names == ("car", "person")
    assert runtime.preprocessing == Preprocessing(HEIGHT, WIDTH)
    assert runtime.settings == SETTINGS


@pytest.mark.slow
def test_a_file_of_any_name_runs(model, tmp_path):
    path = tmp_path / "detector.openvino"
    OpenVino().export(model, path, settings=SETTINGS, options=OpenVinoOptions())
    assert {p.name for p in tmp_path.iterdir()} == {"detector.openvino", "detector.bin"}
    assert OpenVino().recognises(path)
    compare(path, model, pictures())


def test_the_name_of_its_weights_is_refused_for_the_graph(model, tmp_path):
    with pytest.raises(FrcnnError, match=r"-o .*detector\.xml"):
        OpenVino().writes(tmp_path / "detector.bin", OpenVinoOptions())


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


@pytest.mark.slow
@pytest.mark.parametrize("embed", [False, True])
def test_with_a_dynamic_shape_an_image_is_detected_as_if_it_were_alone(model, tmp_path, embed):
    parts, anchors = model.detector.parts, model.detector.anchors
    model = dataclasses.replace(
        model,
        detector=FasterRCNN(**parts, anchors=anchors, dynamic_shape=True),
        preprocessing=Preprocessing(0, 0, min_side=40, max_side=70),
    )
    path = export(model, tmp_path, embed_preprocessing=embed)
    # The second is smaller than the batch, the third has fewer anchors than there are proposals.
    sizes = np.float32([[70, 41], [40, 60], [16, 30]])
    images = np.random.default_rng(0).standard_normal((3, 80, 64, 3), "float32")
    for image, (height, width) in zip(images, sizes.astype(int), strict=True):
        image[height:] = image[:, width:] = 0
    expected = model.detector.detect(images, sizes, SETTINGS)
    assert expected.counts.numpy().min() > 0
    found = OpenVino().load(path).detect(images, sizes)
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-3, err_msg=name
        )
