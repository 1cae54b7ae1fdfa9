"""tlt-converter's command line, with a stand-in for TensorRT."""

import json
import os
import subprocess
import sys

import onnx
import pytest
from click.testing import CliRunner
from exporters.tensorrt import fakes

from frcnn_core.cli import main
from frcnn_tensorrt import api

pytestmark = pytest.mark.slow

CACHE = "TRT-8600-EntropyCalibration2\ninput_image: 3c010204\n"


@pytest.fixture(scope="module")
def detector():
    from frcnn_core.detector.settings import DetectionSettings
    from frcnn_core.testing.exporter import small_model
    from frcnn_onnx.build import build
    from frcnn_onnx.options import OnnxOptions

    settings = DetectionSettings(
        rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
    )
    return build(small_model(), settings, OnnxOptions()).proto


@pytest.fixture
def folder(detector, tmp_path, monkeypatch):
    """The working directory, with small.onnx in it."""
    onnx.save(detector, str(tmp_path / "small.onnx"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["11.0.0"])
def tensorrt(monkeypatch, request):
    with fakes.installed(monkeypatch, request.param) as package:
        yield package


@pytest.fixture
def no_tensorrt(monkeypatch):
    monkeypatch.setattr(api, "PACKAGES", ())
    api.load.cache_clear()


def frcnn(*args):
    result = CliRunner().invoke(main, ["convert", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def profile(package):
    return package.built[-1][1].profile


def test_the_documentations_example_builds_an_engine(folder, tensorrt):
    result = frcnn("-d", "3,64,96", "-k", "nvidia_tlt", "-o", "NMS", "small.onnx")
    assert result.exit_code == 0, result.output
    assert "Written: saved.engine" in result.output
    assert (folder / "saved.engine").read_bytes().startswith(b"ftrt")
    assert profile(tensorrt) == {"input_image": ((1, 3, 64, 96), (1, 3, 64, 96), (16, 3, 64, 96))}
    _, config = tensorrt.built[-1]
    assert list(config.limits.values()) == [1 << 30]
    described = json.loads((folder / "saved.engine.json").read_text())
    assert described["class_names"] == ["car", "person"]


def test_every_flag_of_the_converter_is_taken(folder, tensorrt):
    flags = "-k key -d 3,64,96 -o NMS,NMS_1 -e a.engine -b 4 -m 2 -t fp16 -w 2000000 -i nchw -s"
    result = frcnn(*flags.split(), "small.onnx")
    assert result.exit_code == 0, result.output
    definition, config = tensorrt.built[-1]
    assert definition.strongly_typed
    assert config.flags == set()
    assert list(config.limits.values()) == [2000000]
    assert profile(tensorrt)["input_image"][-1] == (2, 3, 64, 96)
    kernels = [one for one in definition.proto.graph.initializer if len(one.dims) == 4]
    assert {one.data_type for one in kernels} == {onnx.TensorProto.FLOAT16}


def test_nothing_but_the_model_has_to_be_told(folder, tensorrt):
    assert frcnn("small.onnx").exit_code == 0
    assert (folder / "saved.engine").exists()


def test_a_profile_says_which_shapes(folder, tensorrt):
    shapes = "input_image,2x3x64x96,4x3x64x96,8x3x64x96"
    assert frcnn("-p", shapes, "small.onnx").exit_code == 0
    assert [shape[0] for shape in profile(tensorrt)["input_image"]] == [2, 4, 8]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("-d 3,64,97", "-d 3,64,97: small.onnx takes input_image of 3,64,96."),
        ("-o BBOX", "-o BBOX: small.onnx has the outputs NMS, NMS_1."),
        ("-i nhwc", "-i nhwc: images go into ONNX models of frcnn as nchw"),
        ("-p nonsense", "-p: expected NAME,MIN,OPT,MAX"),
        ("-p image,1x3x64x96,1x3x64x96,1x3x64x96", "the model's inputs are input_image"),
        ("-t int8", "frcnn export onnx --data_type int8"),
        ("-u 0 -m 1", "A DLA computes in fp16 and int8 only"),
        ("--compute_capability 8.6", "builds for the GPU it runs on"),
    ],
)
def test_flags_that_do_not_fit_the_model_are_told_and_nothing_is_written(
    folder, tensorrt, flags, complaint
):
    result = frcnn(*flags.split(), "small.onnx")
    assert result.exit_code == 2
    assert complaint in result.output
    assert [path.name for path in folder.iterdir()] == ["small.onnx"]


def test_several_mistakes_are_told_at_once(folder, tensorrt):
    output = frcnn("-d", "3,1,1", "-o", "BBOX", "small.onnx").output
    assert "-d 3,1,1" in output
    assert "-o BBOX" in output


def test_an_engine_that_exists_is_left_alone(folder, tensorrt):
    (folder / "saved.engine").write_text("mine")
    result = frcnn("small.onnx")
    assert result.exit_code == 2
    assert "saved.engine exists" in result.output
    assert (folder / "saved.engine").read_text() == "mine"


@pytest.mark.parametrize("tensorrt", ["10.13.0"], indirect=True)
def test_tensorrt_10_takes_a_float_model_and_a_cache(folder, tensorrt):
    (folder / "cal.bin").write_text(CACHE)
    for flags in (["-c", "cal.bin"], []):  # ./cal.bin is the default
        result = frcnn("-t", "int8", "-b", 4, *flags, "-e", f"{len(flags)}.engine", "small.onnx")
        assert result.exit_code == 0, result.output
        _, config = tensorrt.built[-1]
        assert config.int8_calibrator.read_calibration_cache() == CACHE.encode()
        assert config.int8_calibrator.get_batch_size() == 4


def test_a_model_for_one_batch_size_is_not_built_for_another(folder, tensorrt, detector):
    fixed = onnx.ModelProto()
    fixed.CopyFrom(detector)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, "fixed.onnx")
    result = frcnn("-m", 4, "fixed.onnx")
    assert result.exit_code == 2
    assert "-m 4: fixed.onnx was exported for batches of 2" in result.output
    assert frcnn("fixed.onnx").exit_code == 0
    assert profile(tensorrt) is None


def test_an_etlt_is_opened_with_its_key(folder, tensorrt, detector):
    container = pytest.importorskip("frcnn_etlt.container")
    container.write(folder / "small.etlt", detector.SerializeToString(), "secret")
    assert frcnn("-k", "secret", "small.etlt").exit_code == 0
    result = frcnn("-k", "wrong", "-e", "b.engine", "small.etlt")
    assert result.exit_code == 2
    assert "key" in result.output
    assert not (folder / "b.engine").exists()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.tlt", b"PK\x03\x04", "An engine is built from .onnx or .etlt"),
        ("a.onnx", b"\x08\xff\xff", "a.onnx is damaged"),
        ("missing.onnx", None, "missing.onnx"),
    ],
)
def test_other_files_are_told(folder, tensorrt, name, content, complaint):
    if content is not None:
        (folder / name).write_bytes(content)
    result = frcnn(name)
    assert result.exit_code == 2
    assert complaint in result.output


def test_without_tensorrt_it_says_what_to_install_and_writes_nothing(folder, no_tensorrt):
    result = frcnn("small.onnx")
    assert result.exit_code == 2
    assert "pip install 'frcnn[tensorrt]'" in result.output
    assert [path.name for path in folder.iterdir()] == ["small.onnx"]


def test_a_check_tells_who_parsed_and_what_was_found(folder, tensorrt):
    result = frcnn("--check", "small.onnx")
    assert result.exit_code == 0, result.output
    assert "Parsed by TensorRT 11.0.0" in result.output
    assert "input input_image: -1x3x64x96" in result.output
    assert [path.name for path in folder.iterdir()] == ["small.onnx"]


def test_a_check_without_tensorrt_is_made_by_onnxruntime_and_says_so(folder, no_tensorrt):
    result = frcnn("--check", "-d", "3,64,96", "small.onnx")
    assert result.exit_code == 0, result.output
    assert "and ONNX Runtime" in result.output
    assert "TensorRT is not installed" in result.output


def test_a_check_that_finds_something_ends_with_2(folder, tensorrt, detector):
    foreign = onnx.ModelProto()
    foreign.CopyFrom(detector)
    foreign.graph.node[0].domain = "acme"
    onnx.save(foreign, "foreign.onnx")
    result = frcnn("--check", "foreign.onnx")
    assert result.exit_code == 2
    assert foreign.graph.node[0].name in result.output


def test_help_does_not_wait_for_tensorflow():
    code = "import sys; from frcnn_core.cli import convert; print('tensorflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert run.stdout.strip() == "False", run.stderr
