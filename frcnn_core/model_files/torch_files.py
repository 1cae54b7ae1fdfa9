"""Tensors by key from files PyTorch wrote, without PyTorch and without running code from them.

Three layouts:

* ``torch.save`` since PyTorch 1.6: a zip with a pickle, ``data.pkl``, and every storage's numbers,
  ``data/0``, ``data/1``...;
* ``torch.save`` before that: five pickles (a magic number, a version, the machine, the object, the
  storages' keys), then each storage's count, an int64, and its numbers;
* safetensors: the length of a header, a uint64, the header in JSON, and the numbers.

In a pickle a tensor is a view of a storage: an offset, a size and strides, counted in numbers.  It
need not be contiguous, and several tensors may share a storage.

Source: ``torch/serialization.py``, ``torch/_utils.py``; the format section of safetensors' README.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from frcnn_core.errors import ModelFileError

_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_VERSION = 1001

_BFLOAT16 = "bfloat16"  # the upper half of a float32; numpy has no such type

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_SAFETENSORS = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": _BFLOAT16,
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the state dict in their checkpoints."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""


def is_torch_pickle(head: bytes) -> bool:
    """Whether a file that begins like this is of ``torch.save`` before PyTorch 1.6."""
    return head[:1] == b"\x80" and _MAGIC in head[:32]


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins like this is a safetensors file."""
    return head[4:9] == b"\0\0\0\0{"  # no header takes 4 GiB


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
        return _read_safetensors
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
            content = _Unpickler(io.BytesIO(archive.read(f"{folder}data.pkl"))).load()
            return _arrays(
                _state_dict(content),
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
    _magic, version, _machine = (_Unpickler(file).load() for _ in range(3))
    if version != _VERSION:
        raise ModelFileError(f"it is of version {version} of its format, and {_VERSION} is read.")
    unpickler = _Unpickler(file)
    content = unpickler.load()
    places = _places(file, _Unpickler(file).load(), unpickler.storages)

    def read(key: str) -> bytes:
        if key not in places:
            raise ModelFileError(f"it lacks a part: the storage {key}.")
        file.seek(places[key].start)
        return file.read(len(places[key]))

    return _arrays(_state_dict(content), read)


def _places(file: BinaryIO, keys: Any, storages: dict[str, _Storage]) -> dict[str, range]:
    """Where the bytes of each storage are; the first one's count is next in the file."""
    if not isinstance(keys, list) or not all(key in storages for key in keys):
        raise ModelFileError("it is damaged: the list of its storages makes no sense.")
    size = os.fstat(file.fileno()).st_size
    places = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        start = file.tell()
        places[key] = range(start, start + count * _bytes_each(storages[key].kind))
        if places[key].stop > size:
            raise ModelFileError(
                f"it is cut short: at least {places[key].stop - size:,} bytes are missing. Copy or "
                "download it again."
            )
        file.seek(places[key].stop)
    return places


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    length = int.from_bytes(file.read(8), "little")
    if length > os.fstat(file.fileno()).st_size - 8:
        raise ModelFileError("it is cut short, within its header: copy or download it again.")
    header = file.read(length)
    data = memoryview(file.read())
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        return {key: _entry(key, data, **entry) for key, entry in entries.items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ModelFileError(f"it is damaged: its header makes no sense ({error}).") from error


def _entry(
    key: str, data: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    """One tensor of a safetensors file; the keywords are the header's."""
    if dtype not in _SAFETENSORS:
        raise ModelFileError(f"{key} is of a type that is not read here, {dtype}.")
    begin, end = data_offsets
    if not 0 <= begin <= end <= len(data):
        raise ModelFileError(
            f"it is cut short or damaged: the numbers of {key} end at byte {end:,} of "
            f"{len(data):,}. Copy or download it again."
        )
    numbers = _numbers(data[begin:end], _SAFETENSORS[dtype])
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return _view(key, numbers, 0, tuple(shape), tuple(strides))


class _Storage(NamedTuple):
    """A row of numbers in a file."""

    key: str
    kind: str
    """A value of ``_STORAGES``."""


class _Sealed(type):
    """Classes that a pickle cannot change: it may set attributes of all it is given."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"it sets {cls.__name__}.{name}")


class _Dict(dict, metaclass=_Sealed):
    """In place of an OrderedDict, whose attributes could hide its methods."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """A state dict has the versions of its modules here."""


class _Tensor(metaclass=_Sealed):
    """What a pickle says of a tensor, unchecked."""

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def __setstate__(self, state: Any) -> None:
        """Parameters that early PyTorch pickled have a state, which is nothing of their values."""


class _Parameter(metaclass=_Sealed):
    """The tensor that a parameter is made of."""

    def __new__(cls, data: Any, *_: Any) -> Any:
        return data


class _Ignored(metaclass=_Sealed):
    """An object that checkpoints hold beside the weights, left empty."""

    __slots__ = ()

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_KNOWN = {
    "collections.OrderedDict": _Dict,
    "collections.Counter": _Dict,  # of MultiStepLR
    "builtins.set": set,
    "__builtin__.set": set,
    "argparse.Namespace": _Ignored,  # of torchvision's training scripts
    "torch.device": _Ignored,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _Tensor,
    "torch._utils._rebuild_tensor_v2": _Tensor,
    "torch._utils._rebuild_parameter": _Parameter,
    "torch._utils._rebuild_parameter_with_state": _Parameter,
    "torch.nn.parameter.Parameter": _Parameter,
} | {f"torch.{name}": kind for name, kind in _STORAGES.items()}
"""All that a pickle can call or name.  Nothing here acts on anything but its own arguments."""


class _Unpickler(pickle.Unpickler):
    """Reads the next pickle of a file, and makes nothing but what ``_KNOWN`` lists."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="utf-8")  # for text of Python 2
        self.storages: dict[str, _Storage] = {}
        """All that the pickle refers to, by key."""

    def load(self) -> Any:
        try:
            return super().load()
        except ModelFileError:
            raise
        except Exception as error:  # what a damaged pickle raises is not limited to anything
            raise ModelFileError(
                f"it is cut short or damaged ({error}): copy or download it again."
            ) from error

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[f"{module}.{name}"]
        except KeyError:
            raise ModelFileError(
                f"it holds {module}.{name}. Only plain tensors are read here, since anything else "
                "may run code. With the program it is from, save the tensors alone: "
                'torch.save(model.state_dict(), "weights.pth").'
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, count), and in the old layout a view of the storage, which
        # PyTorch has long written as None.
        what, storage_type, key, _device, _count, *view = pid
        known = what == "storage" and storage_type in _STORAGES.values()
        if not known or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to something unknown")
        if any(view):
            raise ModelFileError(
                "it holds views of storages, as only early PyTorch wrote them. Load it in a "
                "current PyTorch and save it again."
            )
        storage = self.storages.setdefault(key, _Storage(key, storage_type))
        if storage.kind != storage_type:
            raise pickle.UnpicklingError("a storage is of two types")
        return storage


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """The tensors of a state dict; other values in it, such as versions, are left out.

    Raises:
        ModelFileError: there are none.
    """
    if found := _find_tensors(content):
        return found
    what = f"a {type(content).__name__}"
    if isinstance(content, dict):
        keys = [repr(key) for key in content]
        what = f"a dict with the keys {', '.join(keys[:5])}{'...' if len(keys) > 5 else ''}"
    if isinstance(content, _Tensor):
        what = "a single tensor"
    raise ModelFileError(
        f'it holds no state dict, but {what}. torch.save(model.state_dict(), "weights.pth") writes '
        "one."
    )


def _find_tensors(content: Any, *, depth: int = 2) -> dict[str, _Tensor]:
    """Tensors by key, from ``content`` or what is ``_NESTED`` in it, ``depth`` times at most."""
    if not isinstance(content, dict):
        return {}
    if depth:
        for name in _NESTED:
            if found := _find_tensors(content.get(name), depth=depth - 1):
                return found
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, _Tensor)
    }


def _arrays(
    tensors: dict[str, _Tensor], read: Callable[[str], bytes], *, big_endian: bool = False
) -> dict[str, np.ndarray]:
    """The tensors' numbers.

    Args:
        read: gives the bytes of a storage by its key.
    """
    rows: dict[str, np.ndarray] = {}
    arrays = {}
    for key, tensor in tensors.items():
        storage = tensor.storage
        if not isinstance(storage, _Storage):
            raise ModelFileError(f"it is damaged: {key} has no storage.")
        if storage.key not in rows:
            rows[storage.key] = _numbers(read(storage.key), storage.kind, big_endian=big_endian)
        arrays[key] = _view(key, rows[storage.key], tensor.offset, tensor.size, tensor.stride)
    return arrays


def _numbers(data: bytes | memoryview, kind: str, *, big_endian: bool = False) -> np.ndarray:
    """Raw bytes as numbers, half and bfloat16 as float32; in one row."""
    data = data[: len(data) // _bytes_each(kind) * _bytes_each(kind)]
    order = ">" if big_endian else "<"
    if kind == _BFLOAT16:
        return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    numbers = np.frombuffer(data, f"{order}{kind}")
    return numbers.astype("f4" if kind == "f2" else kind, copy=False)


def _bytes_each(kind: str) -> int:
    return 2 if kind == _BFLOAT16 else np.dtype(kind).itemsize


def _view(key: str, numbers: np.ndarray, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A tensor, without copying it.

    Args:
        key: the tensor's, for errors.
        numbers: its storage.
        offset: where its first number is.
        size: its shape.
        stride: how far it is to the next number, by axis.

    Raises:
        ModelFileError: it does not lie within its storage.
    """
    lists = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not lists or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise ModelFileError(f"it is damaged: size or strides of {key} make no sense.")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(numbers):
        raise ModelFileError(
            f"it is cut short or damaged: {key} needs {last + 1:,} numbers and its storage has "
            f"{len(numbers):,}."
        )
    try:
        return np.lib.stride_tricks.as_strided(
            numbers[offset:], size, [step * numbers.itemsize for step in stride], writeable=False
        )
    except (ValueError, OverflowError) as error:
        raise ModelFileError(f"it is damaged: the size of {key} makes no sense.") from error
