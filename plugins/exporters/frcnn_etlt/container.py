"""The file format ``.etlt``: an encrypted ONNX model behind the name of its input.

Layout::

    4 bytes    length L of the name, little-endian; 0 for ONNX
    L          name of the input, for models in UFF, which frcnn does not write
    ...        the ONNX model in frcnn's envelope (frcnn_core.model_files.encryption)

The layout is TLT's, the encryption is not: the codec of NVIDIA's is closed.  Neither can read what
the other wrote.

Source: TLT's documentation, "Exporting the Model"; TAO Deploy's decoding of .etlt.
"""

from __future__ import annotations

import struct
from pathlib import Path

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import encryption

_NAME_LENGTH = struct.Struct("<i")
_LONGEST_NAME = 1024
"""Bytes; a longer one is no name of a tensor but the beginning of another format."""


def pack(model: bytes, *, key: str) -> bytes:
    """The content of an .etlt that holds ``model``.

    Args:
        model: a serialized ``onnx.ModelProto``.
        key: what opens it; any non-empty text.

    Raises:
        ModelFileError: the key is empty.
    """
    return _NAME_LENGTH.pack(0) + encryption.encrypt(model, key)


def unpack(data: bytes, *, key: str, origin: str) -> bytes:
    """What ``pack`` was given.

    Args:
        origin: where ``data`` is from, for messages.

    Raises:
        ModelFileError: the key is missing or wrong, the data is cut short or altered, or another
            program wrote it.
    """
    envelope = data[_NAME_LENGTH.size :]
    if _NAME_LENGTH.pack(0) == data[: _NAME_LENGTH.size]:
        if encryption.is_encrypted(envelope):
            try:
                return encryption.decrypt(envelope, key)
            except ModelFileError as error:
                raise ModelFileError(f"{origin}: {error}") from error
        if encryption.MAGIC.startswith(envelope):  # nothing, or the first letters of it
            raise ModelFileError(f"{origin}: it is cut short: copy or download it again.")
    if len(data) < _NAME_LENGTH.size:
        raise ModelFileError(f"{origin}: it is cut short: copy or download it again.")
    (length,) = _NAME_LENGTH.unpack(data[: _NAME_LENGTH.size])
    if not 0 <= length <= _LONGEST_NAME:
        raise ModelFileError(f"{origin}: it is no .etlt. Export one: frcnn export etlt -m MODEL")
    raise ModelFileError(
        f"{origin}: it was not written by frcnn. NVIDIA's encryption of .etlt files is not "
        "public: use this file with NVIDIA's tools, or train with frcnn and export that model."
    )


def write(path: Path, model: bytes, key: str) -> None:
    """Write an .etlt whole; see ``pack``."""
    from frcnn_core.files import write_whole

    write_whole(path, pack(model, key=key))


def read(path: Path, key: str) -> bytes:
    """The serialized ``onnx.ModelProto`` in an .etlt; see ``unpack``.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    return unpack(data, key=key, origin=str(path))
