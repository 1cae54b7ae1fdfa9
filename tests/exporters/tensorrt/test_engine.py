"""What the builder is told, with a stand-in for it."""

import onnx
import pytest
from onnx import helper

from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_tensorrt import engine
from frcnn_tensorrt.engine import Settings

CACHE = "TRT-8600-EntropyCalibration2\ninput_image: 3c010204\n"


def flags(package):
    return {flag.name for flag in package.built[-1][1].flags}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graphs_types_decide_in_every_version(tensorrt, precision, small_onnx):
    engine.build(small_onnx, Settings(precision), where="a.onnx")
    definition, config = tensorrt.built[-1]
    assert definition.strongly_typed
    assert config.flags == {tensorrt.BuilderFlag.TF32}


def test_strict_types_leave_out_tf32(tensorrt, small_onnx):
    engine.build(small_onnx, Settings(strict=True), where="a.onnx")
    assert flags(tensorrt) == set()


def test_tensorrt_10_makes_int8_of_a_float_model_and_a_cache(tensorrt_10, small_onnx, tmp_path):
    cache = tmp_path / "cal.bin"
    cache.write_text(CACHE)
    engine.build(small_onnx, Settings("int8", cache=cache, calibration_batch=4), where="a.onnx")
    definition, config = tensorrt_10.built[-1]
    assert not definition.strongly_typed
    assert flags(tensorrt_10) == {"TF32", "INT8", "FP16"}
    assert config.int8_calibrator.read_calibration_cache() == CACHE.encode()
    assert config.int8_calibrator.get_batch_size() == 4
    assert config.int8_calibrator.get_batch(["input_image"]) == []

    engine.build(small_onnx, Settings("int8", cache=cache, strict=True), where="a.onnx")
    assert flags(tensorrt_10) == {"INT8", "OBEY_PRECISION_CONSTRAINTS"}


def test_a_file_that_is_no_cache_is_refused(tensorrt_10, small_onnx, tmp_path):
    for name, text in (("missing", None), ("wrong", "hello")):
        if text:
            (tmp_path / name).write_text(text)
        with pytest.raises(FrcnnError, match=name):
            engine.build(small_onnx, Settings("int8", cache=tmp_path / name), where="a.onnx")


def test_tensorrt_11_says_how_to_get_int8(tensorrt, small_onnx, tmp_path):
    (tmp_path / "cal.bin").write_text(CACHE)
    with pytest.raises(
        FrcnnError, match=r"TensorRT 11\.0\.0 takes no calibration cache(.|\n)*--data_type int8"
    ):
        engine.build(small_onnx, Settings("int8", cache=tmp_path / "cal.bin"), where="a.onnx")
    with pytest.raises(FrcnnError, match=r"a\.onnx is not quantized(.|\n)*--data_type int8"):
        engine.build(small_onnx, Settings("int8"), where="a.onnx")


def test_a_dla_takes_one_shape_and_no_float32(tensorrt_10, small_onnx):
    with pytest.raises(FrcnnError, match="fp16 and int8 only"):
        engine.build(small_onnx, Settings(dla_core=0), where="a.onnx")
    with pytest.raises(FrcnnError, match="one shape only"):
        engine.build(small_onnx, Settings("fp16", dla_core=0, most=2), where="a.onnx")
    engine.build(small_onnx, Settings("fp16", dla_core=1), where="a.onnx")
    _, config = tensorrt_10.built[-1]
    assert flags(tensorrt_10) == {"TF32", "FP16", "GPU_FALLBACK"}
    assert config.default_device_type.name == "DLA"
    assert config.DLA_core == 1


def test_other_gpus_are_for_tensorrt_for_rtx(tensorrt, small_onnx):
    with pytest.raises(FrcnnError, match="builds for the GPU it runs on"):
        engine.build(small_onnx, Settings(compute_capabilities=("8.6",)), where="a.onnx")


def test_the_parsers_own_words_name_the_node(tensorrt, small_onnx):
    foreign = onnx.ModelProto()
    foreign.CopyFrom(small_onnx)
    foreign.graph.node.append(
        helper.make_node("Swirl", ["input_image"], ["z"], "features/swirl", domain="acme")
    )
    with pytest.raises(ModelFileError, match=r"features/swirl \(Swirl\): No importer"):
        engine.build(foreign, Settings(), where="a.onnx")


def test_a_builder_that_fails_is_quoted(tensorrt, small_onnx, monkeypatch):
    def fail(self, definition, config):
        severity = tensorrt.ILogger.Severity
        self._logger.log(severity.ERROR, "[optimizer.cpp::build::12] Could not find a kernel")

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", fail)
    with pytest.raises(FrcnnError, match=r"cannot build an engine of a\.onnx:\n  Could not find"):
        engine.build(small_onnx, Settings(), where="a.onnx")


@pytest.mark.slow
def test_old_versions_are_refused(monkeypatch, small_onnx):
    from exporters.tensorrt import fakes

    with fakes.installed(monkeypatch, "8.6.1"):
        with pytest.raises(FrcnnError, match=r"TensorRT 8\.6\.1 is too old"):
            engine.build(small_onnx, Settings(), where="a.onnx")
