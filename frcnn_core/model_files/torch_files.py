"""Tensors by key from files PyTorch wrote, without PyTorch and without running code from them.

``torch.save`` has two layouts (``safetensors.py`` has the third that is read):

* since PyTorch 1.6: a zip with a pickle, ``data.pkl``, and every storage's numbers, ``data/0``,
  ``data/1``...;
* before that: five pickles (a magic number, a version, the machine, the object, the storages'
  keys), then each storage's count, an int64, and its numbers.

Source: ``torch/serialization.py``.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import stored_tensors
from frcnn_core.model_files.safetensors import is_safetensors, read_safetensors
from frcnn_core.model_files.torch_pickles import Storage, Tensor, Unpickler, state_dict

_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_VERSION = 1001

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


def is_torch_pickle(head: bytes) -> bool:
    """Whether a file that begins like this is of ``torch.save`` before PyTorch 1.6."""
    return head[:1] == b"\x80" and _MAGIC in head[:32]


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by key of a state dict, alone or in a checkpoint.

    Half and bfloat16 come as float32, all else as it is.  The arrays cannot be written to: some
    share their memory, and not all are contiguous.  A prefix that DataParallel or torch.compile
    gave all keys is taken off.

    Raises:
        ModelFileError: there is no such file, it is of another kind, holds no state dict, is cut
            short or damaged, or takes more than plain tensors to read.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            file.seek(0)
            tensors = _reader(head)(file)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if not tensors:
        raise ModelFileError(f"{path}: it holds no tensors.")
    while prefix := _common_prefix(tensors):
        tensors = {key.removeprefix(prefix): array for key, array in tensors.items()}
    return tensors


def _reader(head: bytes) -> Callable[[BinaryIO], dict[str, np.ndarray]]:
    if head.startswith(b"PK"):
        return _read_zip
    if is_torch_pickle(head):
        return _read_pickles
    if is_safetensors(head):
        return read_safetensors
    raise ModelFileError("it is neither a file of torch.save nor a safetensors file.")


def _common_prefix(keys: dict[str, Any]) -> str:
    return next((one for one in _WRAPPERS if all(key.startswith(one) for key in keys)), "")


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            folder = _folder(names)
            order = b"little"  # what torch.load takes a file for that does not tell
            if f"{folder}byteorder" in names:
                order = archive.read(f"{folder}byteorder")
            content = Unpickler(io.BytesIO(archive.read(f"{folder}data.pkl"))).load()
            return _arrays(
                state_dict(content),
                lambda key: archive.read(f"{folder}data/{key}"),
                big_endian=order == b"big",
            )
    except KeyError as error:
        raise ModelFileError(f"it lacks a part: {error.args[0]}.") from error
    # zipfile raises the last two for compressions and encryptions, which PyTorch does not use.
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ModelFileError(
            f"it is cut short or damaged ({error}): copy or download it again."
        ) from error


def _folder(names: list[str]) -> str:
    """The one folder that everything in such a zip is in, with its slash; any name will do."""
    folders = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if not folders:
        raise ModelFileError("it is a zip file, but torch.save did not write it.")
    folder = min(folders, key=len)
    if any(name.startswith(f"{folder}code/") for name in names):
        raise ModelFileError(
            "it is a TorchScript archive, a program with its weights. With PyTorch, save the "
            'weights alone: torch.save(torch.jit.load(FILE).state_dict(), "weights.pth").'
        )
    return folder


def _read_pickles(file: BinaryIO) -> dict[str, np.ndarray]:
    _magic, version, _machine = (Unpickler(file).load() for _ in range(3))
    if version != _VERSION:
        raise ModelFileError(f"it is of version {version} of its format, and {_VERSION} is read.")
    unpickler = Unpickler(file)
    content = unpickler.load()
    places = _places(file, Unpickler(file).load(), unpickler.storages)

    def read(key: str) -> bytes:
        if key not in places:
            raise ModelFileError(f"it lacks a part: the storage {key}.")
        file.seek(places[key].start)
        return file.read(len(places[key]))

    return _arrays(state_dict(content), read)


def _places(file: BinaryIO, keys: Any, storages: dict[str, Storage]) -> dict[str, range]:
    """Where the bytes of each storage are; the first one's count is next in the file."""
    if not isinstance(keys, list) or not all(key in storages for key in keys):
        raise ModelFileError("it is damaged: the list of its storages makes no sense.")
    size = os.fstat(file.fileno()).st_size
    places = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        start = file.tell()
        places[key] = range(start, start + count * stored_tensors.bytes_each(storages[key].kind))
        if places[key].stop > size:
            raise ModelFileError(
                f"it is cut short: at least {places[key].stop - size:,} bytes are missing. Copy or "
                "download it again."
            )
        file.seek(places[key].stop)
    return places


def _arrays(
    tensors: dict[str, Tensor], read: Callable[[str], bytes], *, big_endian: bool = False
) -> dict[str, np.ndarray]:
    """The tensors' numbers.

    Args:
        read: gives the bytes of a storage by its key.
    """
    rows: dict[str, np.ndarray] = {}
    arrays = {}
    for key, tensor in tensors.items():
        storage = tensor.storage
        if not isinstance(storage, Storage):
            raise ModelFileError(f"it is damaged: {key} has no storage.")
        if storage.key not in rows:
            rows[storage.key] = stored_tensors.numbers(
                read(storage.key), storage.kind, big_endian=big_endian
            )
        arrays[key] = stored_tensors.view(
            key, rows[storage.key], tensor.offset, tensor.size, tensor.stride
        )
    return arrays
