import numpy as np
import onnx
import pytest

from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import ModelFileError, SpecError
from frcnn_core.plugin.options import parse
from frcnn_core.testing.exporter import small_model
from frcnn_etlt import Etlt, container
from frcnn_etlt.options import EtltOptions
from frcnn_onnx.build import build
from frcnn_onnx.options import OnnxOptions

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)
KEY = "nvidia_tlt"


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("etlt") / "small.etlt"
    options = EtltOptions(key=KEY, gen_ds_config=True)
    written = Etlt().export(model, path, settings=SETTINGS, options=options)
    assert written[0] == path
    return path


@pytest.mark.slow
def test_the_onnx_exporters_graph_is_in_it(model, path):
    inside = onnx.load_from_string(container.read(path, KEY))
    expected = build(model, SETTINGS, OnnxOptions()).proto
    assert [n.op_type for n in inside.graph.node] == [n.op_type for n in expected.graph.node]
    assert inside.metadata_props == expected.metadata_props


@pytest.mark.slow
def test_with_its_key_it_detects_what_the_model_detects(model, path):
    runtime = Etlt().load(path, key=KEY)
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3), "float32")
    sizes = np.full((2, 2), (64, 96), "float32")
    expected, answer = model.detector.detect(images, sizes, SETTINGS), runtime.detect(images, sizes)
    assert expected.counts.numpy().min() > 0
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(
            getattr(answer, name), getattr(expected, name), atol=1e-3, err_msg=name
        )


def test_a_wrong_key_opens_nothing(path):
    with pytest.raises(ModelFileError, match="the key is wrong"):
        Etlt().load(path, key="tlt_encode")


def test_it_is_known_by_its_name(path):
    assert Etlt().recognises(path)
    assert not Etlt().recognises(path.with_suffix(".onnx"))


def test_deepstream_is_told_to_take_an_engine_since_it_cannot_decrypt_the_file(path):
    lines = path.with_name("config_infer_primary.txt").read_text().splitlines()
    assert "model-engine-file=small.engine" in lines
    assert any("frcnn convert -k KEY" in line and "small.etlt" in line for line in lines)
    assert not any(line.startswith(("onnx-file", "tlt-")) for line in lines)


def test_the_documented_part_of_the_configuration_has_the_key(path):
    assert f"tlt-model-key={KEY}" in path.with_name("nvinfer_config.txt").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "set key"),
        ({"key": ""}, "key: give one with -k"),
        ({"key": "k", "gen_triton": True}, r"gen_triton: Triton cannot decrypt.*Export onnx"),
    ],
)
def test_options_that_cannot_be_met_are_told(given, message):
    with pytest.raises(SpecError, match=message):
        parse(EtltOptions, given, where="frcnn export etlt")
