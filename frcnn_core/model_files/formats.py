"""Tells what kind of model file a file is, by its content, so that errors can name it."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import darknet_files, encryption, safetensors, torch_files

_EXPORTED = "Give the .tlt it was exported from."
_AS_WEIGHTS = "Its weights can be a start: training_config.pretrained_weights."
_IMPORT = "frcnn weights import FILE -a ARCH -o OUT.h5 makes Keras weights of it."


_ENGINES = (b"ftrt", b"ptrt", b"vtrt")
"""First bytes of TensorRT's engines: of version 8 and later, of older ones, and of TensorRT for
RTX."""


class Format(Enum):
    """Kinds of model file, in words that fit 'this file is ...'."""

    ARCHIVE = "a model file of frcnn"
    ENCRYPTED = "an encrypted model file of frcnn"
    KERAS = "a Keras 3 model"
    HDF5 = "a Keras HDF5 file"
    TORCH = "a PyTorch file"
    SAFETENSORS = "a safetensors file"
    DARKNET = "a Darknet weights file"
    ZIP = "a zip file"
    ONNX = "an ONNX model"
    ETLT = "an encrypted exported model of frcnn"
    ETLT_OF_NVIDIA = "an exported model of NVIDIA TLT or TAO, whose encryption is not public,"
    ENGINE = "a TensorRT engine"
    TFLITE = "a TensorFlow Lite model"
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
    Format.TORCH: _IMPORT,
    Format.SAFETENSORS: _IMPORT,
    Format.DARKNET: _IMPORT,
    Format.TLT: "Decrypt it to .hdf5 with NVIDIA's tools, then use its weights: "
    "training_config.pretrained_weights.",
    Format.ETLT_OF_NVIDIA: "Train with frcnn, and export from the .tlt it writes.",
    Format.ETLT: _EXPORTED,
    Format.ONNX: _EXPORTED,
    Format.ENGINE: _EXPORTED,
    Format.TFLITE: _EXPORTED,
    Format.SAVED_MODEL: _EXPORTED,
    Format.EMPTY: "Copy or download it again.",
}


def recognise(path: Path) -> Format:
    """What ``path`` is, from its first bytes, and its name where those leave it open.

    Raises:
        ModelFileError: there is no such file, or it cannot be opened.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Format.SAVED_MODEL if (path / "saved_model.pb").exists() else Format.FOLDER
        with open(path, "rb") as file:
            head = file.read(512)
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
    if torch_files.is_torch_pickle(head):
        return Format.TORCH
    if safetensors.is_safetensors(head):
        return Format.SAFETENSORS
    return _by_name(path, head)


def _zip_kind(path: Path, head: bytes) -> Format:
    # The first entry tells two kinds even where the rest is cut off: its name is at byte 30, its
    # length at 26.
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first == b"manifest.json":
        return Format.ARCHIVE
    if first.endswith(b"/data.pkl"):
        return Format.TORCH
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # the last two where damaged
        return Format.ZIP
    if "model.weights.h5" in names:
        return Format.KERAS
    return Format.TORCH if any(name.endswith("/data.pkl") for name in names) else Format.ZIP


def _by_name(path: Path, head: bytes) -> Format:
    suffix = path.suffix.lower()
    # An .etlt begins with the length of its input node's name, then the name ("input_image", or
    # nothing for ONNX); the rest is encrypted like a .tlt.
    if suffix == ".etlt":
        ours = head[:4] == bytes(4) and encryption.is_encrypted(head[4:])
        return Format.ETLT if ours else Format.ETLT_OF_NVIDIA
    if suffix == ".tlt":
        return Format.TLT
    if head.startswith(_ENGINES):
        return Format.ENGINE
    if head[4:8] == b"TFL3":  # the file identifier of its flatbuffer
        return Format.TFLITE
    if suffix == ".onnx" and head[0] == 0x08:  # field 1, ir_version, of onnx.ModelProto
        return Format.ONNX
    # Darknet calls the first N layers NAME.conv.N.
    if (suffix == ".weights" or ".conv." in path.name) and darknet_files.is_darknet(head):
        return Format.DARKNET
    return Format.UNKNOWN
