import struct

import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.encryption import encrypt
from frcnn_etlt import container

KEY = "tlt_encode"


def test_a_file_gives_back_the_model_with_its_key(tmp_path):
    path = tmp_path / "model.etlt"
    container.write(path, b"an ONNX model", KEY)
    assert container.read(path, KEY) == b"an ONNX model"


def test_the_layout_is_the_documented_one_for_onnx():
    """A length of 0 where models in UFF have the name of their input, then what is encrypted."""
    data = container.pack(b"an ONNX model", key=KEY)
    assert struct.unpack("<i", data[:4]) == (0,)
    assert data[4:].startswith(b"FRCNN-ENC")
    assert b"ONNX" not in data


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "it is encrypted: give its key with -k"), ("tlt", "the key is wrong: give with -k")],
)
def test_without_the_right_key_it_is_told_how_to_give_it(tmp_path, key, message):
    path = tmp_path / "model.etlt"
    container.write(path, b"an ONNX model", KEY)
    with pytest.raises(ModelFileError, match=rf"model\.etlt: {message}"):
        container.read(path, key)


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 2, 4, 8, 13, 40, 80, 97])
def test_a_file_that_is_cut_anywhere_says_so(length):
    data = container.pack(b"an ONNX model", key=KEY)
    assert len(data) == 98
    with pytest.raises(ModelFileError, match="it is cut short"):
        container.unpack(data[:length], key=KEY, origin="model.etlt")


@pytest.mark.parametrize(
    "head",
    [struct.pack("<i", 0), struct.pack("<i", 11) + b"input_image"],
    ids=["of ONNX", "of UFF"],
)
def test_a_file_of_nvidias_cannot_be_read_and_says_what_to_do(head):
    with pytest.raises(ModelFileError, match=r"not public.*NVIDIA's tools, or train with frcnn"):
        container.unpack(head + bytes(range(200)), key="nvidia_tlt", origin="resnet18.etlt")


@pytest.mark.parametrize(
    "data", [encrypt(b"a model file", KEY), b"PK\x03\x04" + bytes(100)], ids=["archive", "text"]
)
def test_another_kind_of_file_is_none(data):
    with pytest.raises(ModelFileError, match=r"it is no \.etlt.*frcnn export etlt"):
        container.unpack(data, key=KEY, origin="model.tlt")


def test_an_empty_key_protects_nothing():
    with pytest.raises(ModelFileError, match="give one with -k"):
        container.pack(b"an ONNX model", key="")


@pytest.mark.slow
def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelFileError, match="there is no such file"):
        container.read(tmp_path / "model.etlt", KEY)
