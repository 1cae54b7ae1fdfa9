"""The exporter's contract, with stand-ins for TensorRT and pycuda: no GPU runs anything here."""

import json

import pytest

from exporters.tensorrt import fakes
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.plugin.options import parse
from frcnn_core.testing.exporter import ExporterContract, small_model
from frcnn_tensorrt import TensorRT, api
from frcnn_tensorrt.options import TensorrtOptions

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)


class TestTensorRT(ExporterContract):
    exporter = TensorRT()
    given = {"image_sizes": True}  # noqa: RUF012

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def stand_ins(cls):
        with pytest.MonkeyPatch.context() as patch, fakes.installed(patch):
            yield

    def test_the_json_beside_it_says_what_the_engine_was_built_with(self, exported):
        _, folder, _ = exported
        built = json.loads((folder / "small.engine.json").read_text())["engine"]
        shapes = {
            "input_image": [[1, 3, 64, 96], [1, 3, 64, 96], [16, 3, 64, 96]],
            "image_sizes": [[1, 2], [1, 2], [16, 2]],
        }
        assert built == {
            "built_by": "TensorRT 11.0.0",
            "precision": "fp32",
            "gpu": "8.6",
            "shapes": shapes,
        }


def test_engines_are_recognised_by_name_or_by_first_bytes(tmp_path):
    for name, first, expected in (
        ("a.engine", b"whatever", True),
        ("a.trt", b"", True),
        ("a.plan", b"", True),
        ("a.bin", b"ftrt....", True),
        ("a.bin", b"vtrt....", True),
        ("a.bin", b"\x08\x08", False),
    ):
        (tmp_path / name).write_bytes(first)
        assert TensorRT().recognises(tmp_path / name) is expected
    assert not TensorRT().recognises(tmp_path)


def test_without_tensorrt_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "PACKAGES", ())
    api.load.cache_clear()
    with pytest.raises(FrcnnError, match=r"pip install 'frcnn\[tensorrt\]'"):
        TensorRT().export(
            small_model(), tmp_path / "a.engine", settings=SETTINGS, options=TensorrtOptions()
        )
    assert not list(tmp_path.iterdir())


def test_nothing_beside_the_engine_is_overwritten(tensorrt, tmp_path):
    (tmp_path / "a.engine.json").write_text("mine")
    with pytest.raises(FrcnnError, match=r"a\.engine\.json exists"):
        TensorRT().export(
            small_model(), tmp_path / "a.engine", settings=SETTINGS, options=TensorrtOptions()
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.engine.json"]
    assert not tensorrt.built


@pytest.mark.slow
def test_a_workspace_is_in_bytes_or_below_1024_in_gib(tensorrt, tmp_path):
    for number, (given, expected) in enumerate(((2, 2 << 30), (1 << 29, 1 << 29))):
        TensorRT().export(
            small_model(),
            tmp_path / f"{number}.engine",
            settings=SETTINGS,
            options=TensorrtOptions(max_workspace_size=given),
        )
        _, config = tensorrt.built[-1]
        assert list(config.limits.values()) == [expected]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"max_batch_size": 2, "opt_batch_size": 4}, "min_batch_size <= opt_batch_size"),
        ({"min_batch_size": 0}, "1 <= min_batch_size"),
        ({"max_workspace_size": 0}, "max_workspace_size: expected at least 1"),
        ({"dla_core": -1}, "dla_core: expected 0 or more"),
        ({"data_type": "bf16"}, "expected one of fp32, fp16, int8"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, complaint):
    with pytest.raises(FrcnnError, match=complaint):
        parse(TensorrtOptions, given, where="frcnn export tensorrt")


@pytest.mark.slow
def test_the_documented_defaults():
    options = TensorrtOptions()
    assert (options.max_batch_size, options.min_batch_size, options.opt_batch_size) == (16, 1, 1)
    assert options.max_workspace_size == 1 << 30
    assert options.data_type == "fp32"
