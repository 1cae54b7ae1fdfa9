"""Tells what kind of model file a file is, by its content, so that errors can name it."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from frcnn_core import encryption
from frcnn_core.errors import ModelFileError

_AS_WEIGHTS = "Its weights can be a start: training_config.pretrained_weights."


class Format(Enum):
    """Kinds of model file, in words that fit 'this file is ...'."""

    ARCHIVE = "a model file of frcnn"
    ENCRYPTED = "an encrypted model file of frcnn"
    KERAS = "a Keras 3 model"
    HDF5 = "a Keras HDF5 file"
    ZIP = "a zip file"
    ONNX = "an ONNX model"
    ETLT = "an exported model of NVIDIA TLT or TAO"
    TLT = "a model of NVIDIA TLT or TAO, whose encryption is not public,"
    SAVED_MODEL = "a TensorFlow SavedModel"
    FOLDER = "a folder"
    EMPTY = "empty"
    UNKNOWN = "of no kind known here"

    @property
    def advice(self) -> str:
        """What someone who wanted a model file of frcnn can do instead; may be empty."""
        return _ADVICE.get(self, "")


_ADVICE = {
    Format.KERAS: _AS_WEIGHTS,
    Format.HDF5: _AS_WEIGHTS,
    Format.TLT: "Decrypt it to .hdf5 with NVIDIA's tools, then use its weights: "
    "training_config.pretrained_weights.",
    Format.ETLT: "Train with frcnn, and export from the .tlt it writes.",
    Format.ONNX: "Give the .tlt it was exported from.",
    Format.SAVED_MODEL: "Give the .tlt it was exported from.",
    Format.EMPTY: "Copy or download it again.",
}


def recognise(path: Path) -> Format:
    """What ``path`` is, from its first bytes, and its suffix where those leave it open.

    Raises:
        ModelFileError: there is no such file, or it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        return Format.SAVED_MODEL if (path / "saved_model.pb").exists() else Format.FOLDER
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        return Format.EMPTY
    if encryption.is_encrypted(head):
        return Format.ENCRYPTED
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Format.HDF5
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path, head)
    return _by_suffix(path.suffix.lower(), head)


def _zip_kind(path: Path, head: bytes) -> Format:
    if b"manifest.json" in head:  # our first entry; known even where the rest is cut off
        return Format.ARCHIVE
    try:
        with zipfile.ZipFile(path) as file:
            return Format.KERAS if "model.weights.h5" in file.namelist() else Format.ZIP
    except zipfile.BadZipFile:
        return Format.ZIP


def _by_suffix(suffix: str, head: bytes) -> Format:
    # An .etlt begins with the length of its input node's name, then the name ("input_image", or
    # nothing for ONNX); the rest is encrypted like a .tlt.
    if suffix == ".etlt":
        return Format.ETLT
    if suffix == ".tlt":
        return Format.TLT
    if suffix == ".onnx" and head[0] == 0x08:  # field 1, ir_version, of onnx.ModelProto
        return Format.ONNX
    return Format.UNKNOWN
