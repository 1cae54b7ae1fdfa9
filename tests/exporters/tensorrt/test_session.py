"""What runs an engine, with stand-ins for TensorRT and pycuda: no GPU runs anything here."""

import json
import shutil

import numpy as np
import onnx
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_onnx import session as onnx_session
from frcnn_tensorrt import device, engine, files, session
from frcnn_tensorrt.engine import Settings


@pytest.fixture
def built(tensorrt, small_onnx, tmp_path):
    """An engine for 1 to 2 images."""
    path = tmp_path / "a.engine"
    files.write(small_onnx, path, Settings(most=2), where="a.onnx")
    return path


def images(number):
    values = np.random.default_rng(0).standard_normal((number, 64, 96, 3))
    return values.astype(np.float32), np.tile(np.float32([64, 96]), (number, 1))


def test_a_batch_larger_than_the_profile_is_cut_into_pieces(built, tensorrt, small_onnx):
    expected = onnx_session.load(small_onnx.SerializeToString(), "a").detect(*images(5))
    answer = session.load(built).detect(*images(5))
    assert answer.counts.sum() > 0
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(
            getattr(answer, name), getattr(expected, name), atol=1e-5, err_msg=name
        )
    assert answer.proposals is None
    assert tensorrt.memory.batches == 2 * 3  # two outputs of batches of 2, 2 and 1


def test_memory_is_taken_once_for_batches_of_one_size(built, tensorrt):
    detect = session.load(built).detect
    detect(*images(2))
    taken = tensorrt.memory.allocations
    for number in (2, 1, 2):
        detect(*images(number))
    assert tensorrt.memory.allocations == taken == 3  # an input and two outputs


def test_answers_of_an_earlier_batch_stay_what_they_were(built):
    detect = session.load(built).detect
    batch, sizes = images(2)
    first = detect(batch, sizes)
    before = first.boxes.copy()
    detect(batch[::-1].copy(), sizes)
    np.testing.assert_array_equal(first.boxes, before)


def test_no_context_stays_current_and_what_is_open_is_closed_before_it_goes(built, tensorrt):
    runtime = session.load(built)
    runtime.detect(*images(1))
    assert tensorrt.memory.contexts == []
    closed = []
    device.device().close_at_release(_Closes(lambda: closed.append(tensorrt.memory)))
    user = _Closes(lambda: closed.append(hasattr(tensorrt.memory, "detached")))
    device.device().close_at_release(user)
    device.device().release()
    assert closed == [False]  # the other one was gone already
    assert tensorrt.memory.detached


class _Closes:
    def __init__(self, close):
        self.close = close


def test_an_engine_of_another_version_is_told_with_both(built, monkeypatch):
    from exporters.tensorrt import fakes

    with fakes.installed(monkeypatch, "11.1.0"):
        with pytest.raises(ModelFileError) as caught:
            session.load(built)
    message = str(caught.value)
    for part in ("TensorRT 11.1.0", "TensorRT 11.0.0", "8.6", "Fake GPU", "Version tag"):
        assert part in message


def test_without_its_json_the_onnx_beside_it_tells_the_classes(built, small_onnx, tmp_path):
    (tmp_path / "a.engine.json").unlink()
    with pytest.raises(ModelFileError, match=r"Copy a\.engine\.json beside it, or .* a\.onnx"):
        session.load(built)
    onnx.save(small_onnx, str(tmp_path / "a.onnx"))
    assert session.load(built).class_names == ("car", "person")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"class_names": 3}'])
def test_a_json_file_of_something_else_is_told(built, tmp_path, text):
    (tmp_path / "a.engine.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"a\.engine\.json is not what frcnn writes"):
        session.load(built)


def test_engines_of_other_networks_are_told(tensorrt, tmp_path, built):
    other = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y) {y = Relu(x)}'
    )
    path = tmp_path / "other.engine"
    path.write_bytes(engine.build(other, Settings(), where="x").data)
    shutil.copy(tmp_path / "a.engine.json", tmp_path / "other.engine.json")
    with pytest.raises(ModelFileError, match="takes x and not input_image"):
        session.load(path)


def test_without_pycuda_it_says_so(tensorrt, built, monkeypatch):
    import sys

    device.device.cache_clear()
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(ModelFileError, match="pip install pycuda"):
        session.load(built)
    assert device.compute_capability() is None


def test_without_a_gpu_it_says_so(tensorrt, built, monkeypatch):
    import sys

    driver = sys.modules["pycuda.driver"]

    def fail():
        raise driver.Error("cuInit failed: no CUDA-capable device is detected")

    device.device.cache_clear()
    monkeypatch.setattr(driver, "init", fail)
    with pytest.raises(ModelFileError, match="need a GPU: cuInit failed"):
        session.load(built)


def test_an_engine_that_only_frcnn_could_not_describe_has_no_json(tensorrt, tmp_path):
    other = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y) {y = Relu(x)}'
    )
    assert files.write(other, tmp_path / "o.engine", Settings(), where="o.onnx") == [
        tmp_path / "o.engine"
    ]


@pytest.mark.slow
def test_the_json_repeats_what_the_onnx_says(built, small_onnx):
    fields = json.loads(built.with_name("a.engine.json").read_text())
    props = {entry.key: entry.value for entry in small_onnx.metadata_props}
    assert fields["class_names"] == json.loads(props["frcnn.class_names"])
    assert fields["settings"] == json.loads(props["frcnn.settings"])
