import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import archive
from frcnn_core.model_files.archive import Archive, read, write

MODEL = Archive(
    manifest={"arch": "resnet:10", "epoch": 3},
    spec='model_config { arch: "resnet:10" }  # Straße\n',
    parts={"features": '{"name": "features"}', "rpn": "{}"},
    weights={
        "features/conv1/kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "rpn/conv/bias": np.zeros(0, np.float32),
    },
    optimizer={"adam/iterations": np.array(12)},
)


def assert_same(a: Archive, b: Archive) -> None:
    assert (a.manifest, a.spec, a.parts) == (b.manifest, b.spec, b.parts)
    for mine, theirs in ((a.weights, b.weights), (a.optimizer, b.optimizer)):
        assert mine.keys() == theirs.keys()
        for name, array in mine.items():
            assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
            np.testing.assert_array_equal(array, theirs[name])


@pytest.mark.parametrize("key", ["", "secret"])
def test_reading_gives_back_what_was_written(tmp_path, key):
    write(tmp_path / "m.tlt", MODEL, key)
    assert_same(read(tmp_path / "m.tlt", key), MODEL)


def test_a_transposed_array_comes_back_equal(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write(tmp_path / "m.tlt", replace(MODEL, weights={"a/b": kernel}))
    np.testing.assert_array_equal(read(tmp_path / "m.tlt").weights["a/b"], kernel)


def test_equal_models_are_equal_bytes_whatever_the_order_of_their_weights(tmp_path):
    write(tmp_path / "a", MODEL)
    write(tmp_path / "b", replace(MODEL, weights=dict(reversed(MODEL.weights.items()))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_anyone_can_open_an_unencrypted_model_with_zip_and_numpy(tmp_path):
    write(tmp_path / "m.tlt", MODEL)
    with zipfile.ZipFile(tmp_path / "m.tlt") as file:
        assert file.testzip() is None
        assert json.loads(file.read("manifest.json"))["format_version"] == 1
        kernel = np.load(io.BytesIO(file.read("weights/features/conv1/kernel.npy")))
    assert kernel.shape == (1, 2, 3)


def test_a_key_for_an_unencrypted_file_does_no_harm(tmp_path):
    write(tmp_path / "m.tlt", MODEL)
    assert_same(read(tmp_path / "m.tlt", "unneeded"), MODEL)


def test_an_encrypted_file_without_its_key_says_what_to_type(tmp_path):
    write(tmp_path / "m.tlt", MODEL, "secret")
    with pytest.raises(ModelFileError, match=r"m\.tlt cannot be read: it is encrypted.*-k"):
        read(tmp_path / "m.tlt")


def test_python_objects_can_be_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write(tmp_path / "m.tlt", replace(MODEL, weights={"a": np.array([{}], dtype=object)}))
    assert not (tmp_path / "m.tlt").exists()


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        read(tmp_path / "m.tlt")


def test_a_newer_format_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT_VERSION", 2)
    write(tmp_path / "m.tlt", MODEL)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="format version 2 and this frcnn reads 1"):
        read(tmp_path / "m.tlt")


def test_a_model_that_lacks_its_spec_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.tlt", "w") as file:
        file.writestr("manifest.json", '{"format": "frcnn", "format_version": 1}')
    with pytest.raises(ModelFileError, match=r"lacks .*spec\.txt"):
        read(tmp_path / "m.tlt")


def test_altered_weights_are_noticed_without_a_key_too(tmp_path):
    write(tmp_path / "m.tlt", MODEL)
    data = bytearray((tmp_path / "m.tlt").read_bytes())
    data[data.index(np.float32(5).tobytes())] ^= 1
    (tmp_path / "m.tlt").write_bytes(data)
    with pytest.raises(ModelFileError, match="altered"):
        read(tmp_path / "m.tlt")


@pytest.mark.slow
@given(st.data())
def test_a_damaged_file_is_never_more_than_an_error_for_the_user(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "m.tlt"
    write(path, MODEL)
    good = path.read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    flip = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[flip] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bad[:cut])
    try:
        read(path)
    except ModelFileError as error:
        assert str(path) in str(error)
