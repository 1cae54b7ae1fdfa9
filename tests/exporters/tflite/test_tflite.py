import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import toy
from click.testing import CliRunner

from exporters.onnx import int8_toy
from exporters.tflite import contents
from frcnn_core.cli import main
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.plugin.int8 import CalibrationImages
from frcnn_core.quantization import quantize, quantizers
from frcnn_core.testing.exporter import ExporterContract
from frcnn_tflite import Tflite
from frcnn_tflite.options import TfliteOptions

SIDE = toy.SIDE
SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=100, rpn_nms_max_boxes=10, classifier_nms_max_boxes=6
)
# Without suppression nothing depends on which of two similar boxes scores a little better.
EVERYTHING = DetectionSettings(
    rpn_nms_max_boxes=32,
    rpn_nms_overlap_threshold=1.0,
    object_confidence_thres=0.0,
    classifier_nms_max_boxes=64,
    classifier_nms_overlap_threshold=1.0,
)


class TestTflite(ExporterContract):
    exporter = Tflite()
    given = {"image_sizes": "true"}  # noqa: RUF012


@pytest.fixture(scope="module")
def model():
    return Model(
        detector=int8_toy.lively(toy.detector()),
        class_names=toy.CLASSES,
        preprocessing=Preprocessing(SIDE, SIDE, means=(9.0, 8.0, 7.0), scale=50.0),
        arch="toy",
        spec="",
    )


def pixels(count):
    return np.random.default_rng(3).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def images(model, count=2):
    return model.preprocessing.normalize(tf.cast(pixels(count), tf.float32)).numpy()


def calibration(model):
    return CalibrationImages(lambda: iter([images(model, 4)]), 1, "noise")


def export(model, folder, *, name="model.tflite", settings=SETTINGS, **options):
    options = TfliteOptions(**options)
    given = calibration(model) if options.calibrates(model) else None
    path = folder / name
    Tflite().export(model, path, settings=settings, options=options, images=given)
    return path


def both(path, model, settings):
    """What the file finds, and what the model finds."""
    batch = images(model)
    sizes = np.full((len(batch), 2), SIDE, np.float32)
    expected = model.detector.detect(batch, sizes, settings)
    most = settings.classifier_nms_max_boxes
    assert expected.counts.numpy().min() == most, "a test in which little is found shows little"
    return Tflite().load(path).detect(batch, sizes), expected


def compare(path, model, *, boxes, scores):
    """Detections, best first, differ by no more than this."""
    found, expected = both(path, model, SETTINGS)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=scores)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=boxes)


def compare_unordered(path, model, *, boxes, scores):
    """All but a few of what the file finds are there in what the model finds, in any order."""
    found, expected = both(path, model, EVERYTHING)
    for image in range(len(found.boxes)):
        boxes_there, scores_there, classes_there = (
            np.asarray(rows[image]) for rows in (expected.boxes, expected.scores, expected.classes)
        )
        near = np.abs(found.boxes[image][:, None] - boxes_there).max(-1) < boxes
        near &= np.abs(found.scores[image][:, None] - scores_there) < scores
        near &= found.classes[image][:, None] == classes_there
        assert near.any(axis=1).mean() > 0.9, image


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("float"))


def test_images_have_no_padding_unless_the_file_takes_sizes(exported, model):
    compare(exported, model, boxes=1e-3, scores=1e-4)


def test_all_operators_are_built_in(exported):
    names = {operator.name for operator in contents.operators(exported.read_bytes())}
    assert {"CONV_2D", "NON_MAX_SUPPRESSION_V4", "TOPK_V2", "GATHER"} <= names
    assert "CUSTOM" not in names


def test_it_says_what_it_is_for_whoever_unzips_it(exported, model):
    with zipfile.ZipFile(exported) as file:
        assert file.read("labels.txt").decode().split() == ["blue", "red"]
        said = json.loads(file.read("frcnn.json"))
    assert said["preprocessing_text"] == model.preprocessing.describe()
    assert said["settings"]["classifier_nms_max_boxes"] == 6
    runtime = Tflite().load(exported)
    assert (runtime.class_names, runtime.preprocessing) == (toy.CLASSES, model.preprocessing)
    assert (runtime.settings, runtime.precision) == (SETTINGS, "fp32")


def test_equal_exports_are_equal_files(exported, model, tmp_path):
    assert export(model, tmp_path).read_bytes() == exported.read_bytes()


def test_half_precision_halves_kernels_and_nothing_else(model, tmp_path):
    path = export(model, tmp_path, data_type="fp16")
    compare(path, model, boxes=0.05, scores=1e-3)
    found = contents.operators(path.read_bytes())
    constants = [tensor for one in found for tensor in one.inputs if tensor.constant]
    halves = [tensor for tensor in constants if tensor.type == "FLOAT16"]
    # Of four convolutions of the backbone, three of the RPN, and one and two dense of the head.
    assert len(halves) == 4 + 3 + 1 + 2
    assert all(len(tensor.shape) in (2, 4) for tensor in halves)
    assert not any(tensor.type == "FLOAT32" and len(tensor.shape) == 4 for tensor in constants)


def test_pixels_are_normalized_in_the_file_and_channels_put_in_order(model, tmp_path):
    model = replace(model, preprocessing=replace(model.preprocessing, channel_order="bgr"))
    path = export(model, tmp_path, embed_preprocessing=True)
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("frcnn.json"))["embedded_preprocessing"]
    first = contents.operators(path.read_bytes())[0]
    assert (first.name, first.inputs[0].type) == ("CAST", "UINT8")
    compare(path, model, boxes=1e-3, scores=1e-4)


@pytest.fixture(scope="module")
def rounded(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    ranges = folder / "ranges.json"
    return export(
        model,
        folder,
        settings=EVERYTHING,
        data_type="int8",
        range_finder="minmax",
        cal_json_file=ranges,
    )


def test_int8_finds_nearly_what_the_model_finds(rounded, model):
    compare_unordered(rounded, model, boxes=1.5, scores=0.03)
    assert Tflite().load(rounded).precision == "int8"


def test_every_convolution_of_an_int8_file_computes_in_int8(rounded):
    found = contents.convolutions(rounded.read_bytes())
    assert len(found) == 8
    for one in found:
        assert (one.inputs[0].type, one.inputs[1].type, one.outputs[0].type) == ("INT8",) * 3
        assert len(one.inputs[1].scales) == one.outputs[0].shape[-1]  # one for each channel


def test_what_follows_the_parts_stays_in_floating_point(rounded):
    operators = contents.operators(rounded.read_bytes())
    assert not {"LOGISTIC", "SOFTMAX"} & {one.name for one in operators}
    for name in ("EXP", "DIV", "NON_MAX_SUPPRESSION_V4"):
        types = {one.inputs[0].type for one in operators if one.name == name}
        assert types == {"FLOAT32"}, name


def test_ranges_of_int8_are_written_by_layer(rounded):
    ranges = json.loads(rounded.with_name("ranges.json").read_text())["tensor_scales"]
    # The images' own: the largest is (255 - 7) / 50.
    assert ranges["features/input_image"] == pytest.approx(248 / 50, abs=0.05)
    assert set(ranges) > {"features/conv0_act", "rpn/rpn_conv1", "head/head_conv_act"}


def test_a_relus_output_has_all_codes_above_zero(rounded):
    first = contents.convolutions(rounded.read_bytes())[0]
    ranges = json.loads(rounded.with_name("ranges.json").read_text())["tensor_scales"]
    (scale,), (zero,) = first.outputs[0].scales, first.outputs[0].zeros
    assert zero == -128
    assert scale == pytest.approx(ranges["features/conv0_act"] / 255, rel=1e-5)


def test_a_layer_can_stay_in_floating_point(model, tmp_path):
    path = export(model, tmp_path, data_type="int8", keep_float=("features/conv2*",))
    types = [one.inputs[1].type for one in contents.convolutions(path.read_bytes())]
    assert types[:4] == ["INT8", "INT8", "FLOAT32", "INT8"]
    assert types.count("FLOAT32") == 1


def test_a_layer_that_does_not_exist_cannot_stay_in_floating_point(model, tmp_path):
    with pytest.raises(FrcnnError, match=r"called features/conv9; did you mean features/conv"):
        export(model, tmp_path, data_type="int8", keep_float=("features/conv9",))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(model):
    """The model with trained ranges, all 3.0."""
    parts = quantize(model.detector.parts)
    for layer in quantizers(parts):
        layer.range.assign(3.0)
        layer.counter.assign(1.0)
    detector = FasterRCNN(*parts.values(), anchors=model.detector.anchors)
    return replace(model, detector=detector)


def test_trained_ranges_are_used_as_they_were_trained(trained, tmp_path):
    path = export(trained, tmp_path, settings=EVERYTHING, data_type="int8")
    found = contents.convolutions(path.read_bytes())
    assert len(found) == 8
    for one in found:
        assert one.inputs[1].type == "INT8"
        assert one.outputs[0].scales == (pytest.approx(3 / 127, rel=1e-5),)
        assert one.outputs[0].zeros == (0,)
    compare_unordered(path, trained, boxes=1.5, scores=0.02)


def test_trained_ranges_can_be_measured_anew(trained, tmp_path):
    path = export(trained, tmp_path, data_type="int8", force_ptq=True)
    scales = [one.outputs[0].scales for one in contents.convolutions(path.read_bytes())]
    assert len(set(scales)) > 4


def test_a_trained_model_in_floating_point_has_its_tensors_as_they_are(trained, tmp_path):
    found = contents.operators(export(trained, tmp_path).read_bytes())
    assert not {"FAKE_QUANT", "QUANTIZE", "DEQUANTIZE"} & {one.name for one in found}


def test_a_dynamic_shape_is_refused_with_what_to_do(model, tmp_path):
    parts, anchors = model.detector.parts, model.detector.anchors
    dynamic = replace(
        model,
        detector=FasterRCNN(*parts.values(), anchors=anchors, dynamic_shape=True),
        preprocessing=Preprocessing(0, 0, min_side=32, max_side=64),
    )
    with pytest.raises(FrcnnError, match=r"fixed input size.*Export onnx or saved_model"):
        export(dynamic, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_program_says_so(exported, tmp_path):
    path = tmp_path / "other.tflite"
    content = exported.read_bytes()
    path.write_bytes(content[: content.rindex(b"PK\x03\x04") - 2000])
    assert Tflite().recognises(path)
    with pytest.raises(ModelFileError, match=r"no frcnn\.json.*frcnn export tflite"):
        Tflite().load(path)


def test_a_damaged_model_says_so(exported, tmp_path):
    path = tmp_path / "damaged.tflite"
    content = bytearray(exported.read_bytes())
    content[8:2000] = bytes(1992)
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="cannot be run by LiteRT"):
        Tflite().load(path)


def test_ranges_that_are_there_already_are_not_replaced(model, tmp_path):
    ranges = tmp_path / "ranges.json"
    ranges.write_text("mine")
    with pytest.raises(FrcnnError, match=r"ranges\.json exists"):
        export(model, tmp_path, data_type="int8", cal_json_file=ranges)
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.json"]


def test_a_calibration_cache_is_refused_with_what_writes_one(tmp_path):
    args = ["export", "tflite", "-m", tmp_path / "m.tlt", "--cal_cache_file", tmp_path / "cal.bin"]
    result = CliRunner().invoke(main, [*map(str, args), "--data_type", "int8"])
    assert result.exit_code == 2
    assert "frcnn export onnx` writes a cache" in " ".join(result.output.split())


def test_the_ending_chooses_it_on_the_command_line(tiny_model, tmp_path):
    path = tmp_path / "tiny.tlt"
    archive.write(path, replace(tiny_model, spec="inference_config { }").to_archive(), "")
    output = tmp_path / "tiny.tflite"
    result = CliRunner().invoke(main, ["export", "-m", str(path), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert Tflite().load(output).settings == DetectionSettings()
