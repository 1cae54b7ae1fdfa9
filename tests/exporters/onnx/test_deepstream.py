import dataclasses

import numpy as np
import onnxruntime
import pytest

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError, SpecError
from frcnn_core.plugin.options import parse
from frcnn_core.testing.exporter import small_model
from frcnn_onnx import Onnx, deepstream
from frcnn_onnx.options import OnnxOptions

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200,
    rpn_nms_max_boxes=20,
    object_confidence_thres=0.001,
    classifier_nms_max_boxes=10,
)
BGR = Preprocessing(
    height=544,
    width=960,
    channel_order="bgr",
    means=(123.68, 116.779, 103.939),
    scale=2.0,
)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """An export with DeepStream's files beside it."""
    folder = tmp_path_factory.mktemp("exported")
    options = OnnxOptions(gen_ds_config=True)
    Onnx().export(model, folder / "small.onnx", settings=SETTINGS, options=options)
    return folder


def configured(text):
    """Fields by group, as GLib's key files are read."""
    groups, fields = {}, {}
    for line in text.splitlines():
        if line.startswith("["):
            fields = groups.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, value = line.split("=", 1)
            assert name not in fields
            fields[name] = value
    return groups


def whole(model, tmp_path, **given):
    deepstream.write(model, SETTINGS, tmp_path / "a.onnx", OnnxOptions(**given))
    return configured((tmp_path / "config_infer_primary.txt").read_text())["property"]


@pytest.mark.slow
def test_labels_are_the_classes_by_number_and_background_last(model, folder):
    """The rows of NMS have class 0 for the first name; training has sorted the names."""
    assert model.class_names == ("car", "person")
    assert (folder / "labels.txt").read_text() == "car\nperson\nbackground\n"


def test_the_partial_configuration_is_the_documented_one(model, tmp_path):
    """In the documentation's order, with its example's size and means: b, g, r where the network
    wants blue first, and a factor where the spec has a divisor."""
    given = dataclasses.replace(model, preprocessing=BGR)
    deepstream.write(given, SETTINGS, tmp_path / "a.onnx", OnnxOptions())
    assert (tmp_path / "nvinfer_config.txt").read_text().splitlines() == [
        "net-scale-factor=0.5",
        "offsets=103.939;116.779;123.68",
        "infer-dims=3;544;960",
        "network-type=0",
        "num-detected-classes=3",
        "model-color-format=1",
        "maintain-aspect-ratio=0",
        "output-tensor-meta=0",
    ]


@pytest.mark.parametrize(
    ("order", "means", "offsets", "color", "dims"),
    [
        ("rgb", (1.5, 2.0, 3.0), "1.5;2.0;3.0", "0", "3;64;96"),
        ("bgr", (1.5, 2.0, 3.0), "3.0;2.0;1.5", "1", "3;64;96"),
        ("l", (117.3786,), "117.3786", "2", "1;64;96"),
    ],
)
def test_offsets_are_in_the_order_of_the_channels(
    model, tmp_path, order, means, offsets, color, dims
):
    preprocessing = Preprocessing(
        height=64, width=96, channels=len(means), channel_order=order, means=means
    )
    fields = whole(dataclasses.replace(model, preprocessing=preprocessing), tmp_path)
    assert fields["offsets"] == offsets
    assert fields["model-color-format"] == color
    assert fields["infer-dims"] == dims


def test_nvinfers_formula_with_these_fields_is_the_models_preprocessing(model, tmp_path):
    """y = net-scale-factor * (x - offset), on channels in the order of model-color-format."""
    given = dataclasses.replace(model, preprocessing=BGR)
    fields = whole(given, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3)).astype("float32")
    offsets = np.array([float(one) for one in fields["offsets"].split(";")])
    network = float(fields["net-scale-factor"]) * (pixels[..., ::-1] - offsets)
    np.testing.assert_allclose(network, BGR.normalize(pixels), rtol=1e-6)


def test_the_whole_configuration_runs_the_plain_onnx_with_the_tlt_parser(folder):
    groups = configured((folder / "config_infer_primary.txt").read_text())
    assert list(groups) == ["property", "class-attrs-all"]
    fields = groups["property"]
    assert fields["onnx-file"] == "small.onnx"
    assert fields["labelfile-path"] == "labels.txt"
    assert all((folder / fields[name]).exists() for name in ("onnx-file", "labelfile-path"))
    assert fields["num-detected-classes"] == "3"
    assert fields["parse-bbox-func-name"] == "NvDsInferParseCustomNMSTLT"
    assert fields["output-blob-names"] == "NMS;NMS_1"
    assert fields["cluster-mode"] == "4"
    assert (fields["process-mode"], fields["network-type"]) == ("1", "0")
    assert not [name for name in fields if name.startswith(("tlt-", "uff-"))]
    assert groups["class-attrs-all"]["pre-cluster-threshold"] == "0.6"


@pytest.mark.parametrize(("data_type", "mode"), [("fp32", "0"), ("int8", "1"), ("fp16", "2")])
def test_the_precision_is_nvinfers_number_of_it(model, tmp_path, data_type, mode):
    fields = whole(model, tmp_path, data_type=data_type)
    assert fields["network-mode"] == mode
    assert fields["model-engine-file"] == f"a.onnx_b1_gpu0_{data_type}.engine"
    assert fields.get("int8-calib-file") == ("cal.bin" if data_type == "int8" else None)


def test_a_calibration_cache_elsewhere_has_its_path(model, tmp_path):
    cache = tmp_path / "caches" / "cal.bin"
    fields = whole(model, tmp_path, data_type="int8", cal_cache_file=cache)
    assert fields["int8-calib-file"] == str(cache.resolve())


def test_a_fixed_batch_size_is_the_engines(model, tmp_path):
    fields = whole(model, tmp_path, static_batch_size=4)
    assert fields["batch-size"] == "4"
    assert fields["model-engine-file"] == "a.onnx_b4_gpu0_fp32.engine"


def test_frames_that_training_did_not_scale_must_have_the_size_already(model, tmp_path):
    cut = Preprocessing(height=64, width=96, resize=False)
    deepstream.write(
        dataclasses.replace(model, preprocessing=cut), SETTINGS, tmp_path / "a.onnx", OnnxOptions()
    )
    assert "give it frames of 96x64 pixels" in (tmp_path / "config_infer_primary.txt").read_text()


@pytest.mark.parametrize("name", ["labels.txt", "nvinfer_config.txt", "config_infer_primary.txt"])
def test_nothing_is_overwritten(model, tmp_path, name):
    (tmp_path / name).write_text("somebody else's")
    options = OnnxOptions(gen_ds_config=True)
    with pytest.raises(FrcnnError, match=name):
        Onnx().export(model, tmp_path / "a.onnx", settings=SETTINGS, options=options)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "somebody else's"


@pytest.mark.parametrize(
    "given", [{"outputs": "named"}, {"image_sizes": True}, {"embed_preprocessing": True}]
)
def test_a_graph_that_deepstream_cannot_feed_gets_no_configuration(given):
    with pytest.raises(SpecError, match=f"gen_ds_config: .*--{next(iter(given))}"):
        parse(OnnxOptions, {"gen_ds_config": True, **given}, where="frcnn export onnx")


def parse_nms_tlt(rows, count, *, width, height, num_classes, threshold):
    """What DeepStream's NvDsInferParseCustomNMSTLT makes of the outputs for one image."""
    objects = []
    for _, label, score, x1, y1, x2, y2 in rows.reshape(-1, 7)[: count.ravel()[0]]:
        if score < threshold:
            continue
        assert int(label) < num_classes
        objects.append(
            (
                int(label),
                score,
                np.clip(x1 * width, 0, width - 1),
                np.clip(y1 * height, 0, height - 1),
                np.clip((x2 - x1) * width, 0, width - 1),
                np.clip((y2 - y1) * height, 0, height - 1),
            )
        )
    return objects


@pytest.mark.slow
def test_deepstreams_parser_gets_the_detectors_boxes(model, folder):
    session = onnxruntime.InferenceSession(folder / "small.onnx")
    assert [output.name for output in session.get_outputs()] == ["NMS", "NMS_1"]
    image = np.random.default_rng(0).standard_normal((1, 64, 96, 3), "float32")
    rows, count = session.run(None, {"input_image": image.transpose(0, 3, 1, 2)})
    fields = configured((folder / "config_infer_primary.txt").read_text())["property"]
    _, height, width = map(int, fields["infer-dims"].split(";"))
    num_classes = int(fields["num-detected-classes"])
    objects = parse_nms_tlt(
        rows, count, width=width, height=height, num_classes=num_classes, threshold=0.4
    )
    found = model.detector.detect(image, np.array([[64, 96]], "float32"), SETTINGS)
    expected = [
        (label, score, box[1], box[0], box[3] - box[1], box[2] - box[0])
        for label, score, box in zip(
            found.classes.numpy()[0], found.scores.numpy()[0], found.boxes.numpy()[0], strict=True
        )
        if score >= 0.4
    ]
    assert 0 < len(expected) < found.counts.numpy()[0]
    np.testing.assert_allclose(objects, expected, atol=1e-3)
    labels = (folder / "labels.txt").read_text().split()
    assert {labels[label] for label, *_ in objects} <= set(model.class_names)
