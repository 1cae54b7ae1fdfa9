import pickle
import struct
import zipfile

import h5py
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.archive import Archive, read, write
from frcnn_core.model_files.encryption import encrypt
from frcnn_core.model_files.formats import Format, recognise

CLOSED = bytes(range(200, 250))
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
IMPORT = "frcnn weights import FILE -a ARCH -o OUT.h5"


def test_our_own_files_are_known_whatever_they_are_called(tmp_path):
    write(tmp_path / "model.bin", Archive({}, "", {}, {}))
    (tmp_path / "secret.bin").write_bytes(encrypt(b"", "k"))
    assert recognise(tmp_path / "model.bin") is Format.ARCHIVE
    assert recognise(tmp_path / "secret.bin") is Format.ENCRYPTED


def test_our_own_file_is_known_when_most_of_it_is_missing(tmp_path):
    write(tmp_path / "model.tlt", Archive({}, "", {}, {}))
    (tmp_path / "model.tlt").write_bytes((tmp_path / "model.tlt").read_bytes()[:50])
    assert recognise(tmp_path / "model.tlt") is Format.ARCHIVE


def test_keras_files_are_known_by_content(tmp_path):
    with h5py.File(tmp_path / "weights.tlt", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("model.weights.h5", "")
    assert recognise(tmp_path / "weights.tlt") is Format.HDF5
    assert recognise(tmp_path / "model.zip") is Format.KERAS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("old.tlt", CLOSED, "NVIDIA TLT or TAO, whose encryption is not public"),
        ("old.etlt", b"\x0b\0\0\0input_image" + CLOSED, "exported model of NVIDIA"),
        ("new.etlt", b"\0\0\0\0" + CLOSED, "exported model of NVIDIA"),
        ("m.etlt", b"\0\0\0\0FRCNN-ENC", "encrypted exported model of frcnn.* Give the .tlt"),
        ("m.onnx", b"\x08\x07\x12\x04tf2o", "ONNX model.* Give the .tlt"),
        ("m.plan", b"ftrt\0\0\0\0", "TensorRT engine.* Give the .tlt"),
        ("m.engine", b"vtrt\0\0\0\0", "TensorRT engine.* Give the .tlt"),
        ("m.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite model.* Give the .tlt"),
        ("m.tlt", b"", "is empty"),
        ("photo.png", b"\x89PNG", "no kind known here"),
        ("other.zip", b"PK\x03\x04\x00", "a zip file"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "Keras HDF5.*training_config.pretrained_weights"),
        ("w.pth", pickle.dumps(TORCH_MAGIC, protocol=2), f"PyTorch file.*{IMPORT}"),
        ("w.safetensors", b"\x02\0\0\0\0\0\0\0{}", f"safetensors file.*{IMPORT}"),
        ("w.weights", struct.pack("<3iqf", 0, 2, 0, 64, 1), f"Darknet weights file.*{IMPORT}"),
    ],
)
def test_reading_another_kind_of_file_as_a_model_names_the_kind(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=says):
        read(tmp_path / name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_old_pytorch_file_is_known_by_its_magic_number(tmp_path, protocol):
    (tmp_path / "w.bin").write_bytes(pickle.dumps(TORCH_MAGIC, protocol) + b"...")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(TORCH_MAGIC + 1, protocol))
    assert recognise(tmp_path / "w.bin") is Format.TORCH
    assert recognise(tmp_path / "other.pkl") is Format.UNKNOWN


def test_a_pytorch_zip_is_known_by_its_pickle_also_when_most_of_it_is_missing(tmp_path):
    path = tmp_path / "w.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a_rather_long_name_of_a_checkpoint_after_epoch_100/data.pkl", bytes(100))
    assert recognise(path) is Format.TORCH
    path.write_bytes(path.read_bytes()[:120])
    assert recognise(path) is Format.TORCH
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w/version", "3")
        file.writestr("w/data.pkl", "")
    assert recognise(path) is Format.TORCH


def test_a_zip_with_a_damaged_directory_is_still_a_zip(tmp_path):
    path = tmp_path / "w.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ö.txt", "")
    path.write_bytes(path.read_bytes().replace("ö".encode(), b"\xff\xff"))
    assert recognise(path) is Format.ZIP


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("yolov4.weights", True),
        ("darknet53.conv.74", True),
        ("m.weights.bin", False),
    ],
)
def test_a_darknet_file_is_known_by_its_header_where_its_name_allows(tmp_path, name, is_one):
    path = tmp_path / name
    path.write_bytes(struct.pack("<3iqf", 0, 2, 0, 64, 1))
    assert (recognise(path) is Format.DARKNET) == is_one
    path.write_bytes(b"some words, and not any numbers")
    assert recognise(path) is Format.UNKNOWN


def test_keras_weights_are_no_darknet_file(tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "w"):
        pass
    assert recognise(tmp_path / "m.weights.h5") is Format.HDF5


@pytest.mark.slow
def test_a_saved_model_is_told_from_any_other_folder(tmp_path):
    assert recognise(tmp_path) is Format.FOLDER
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path) is Format.SAVED_MODEL
