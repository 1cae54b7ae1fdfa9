import zipfile

import h5py
import pytest

from frcnn_core.archive import Archive, read, write
from frcnn_core.encryption import encrypt
from frcnn_core.errors import ModelFileError
from frcnn_core.formats import Format, recognise

CLOSED = bytes(range(200, 250))


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
        ("m.onnx", b"\x08\x07\x12\x04tf2o", "ONNX model.* Give the .tlt"),
        ("m.tlt", b"", "is empty"),
        ("photo.png", b"\x89PNG", "no kind known here"),
        ("other.zip", b"PK\x03\x04\x00", "a zip file"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "Keras HDF5.*training_config.pretrained_weights"),
    ],
)
def test_reading_another_kind_of_file_as_a_model_names_the_kind(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=says):
        read(tmp_path / name)


def test_a_saved_model_is_told_from_any_other_folder(tmp_path):
    assert recognise(tmp_path) is Format.FOLDER
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path) is Format.SAVED_MODEL
