"""Files as PyTorch writes them, made here by a small writer of our own."""

import pickle
import struct
import sys
import tempfile
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from types import ModuleType
from unittest.mock import patch

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C

FLOATS = np.arange(6, dtype=np.float32)


def named(module, name):
    """Something that pickles as this name of a module of PyTorch's."""
    one = type(name, (), {"__module__": module, "__qualname__": name})
    TORCH.setdefault(module, ModuleType(module)).__dict__[name] = one
    return one


TORCH = {"torch": ModuleType("torch")}
"""Modules that are there while the writer pickles."""

STORAGES = {
    "f8": named("torch", "DoubleStorage"),
    "f4": named("torch", "FloatStorage"),
    "f2": named("torch", "HalfStorage"),
    "u2": named("torch", "BFloat16Storage"),  # numpy has no bfloat16; these are its bits
    "i8": named("torch", "LongStorage"),
    "i4": named("torch", "IntStorage"),
    "i2": named("torch", "ShortStorage"),
    "i1": named("torch", "CharStorage"),
    "u1": named("torch", "ByteStorage"),
    "b1": named("torch", "BoolStorage"),
}

REBUILD = named("torch._utils", "_rebuild_tensor_v2")


@dataclass(eq=False)
class Storage:
    """A row of numbers, which a file holds beside the pickle."""

    numbers: np.ndarray
    key: str = field(default_factory=map(str, count()).__next__)
    view: tuple | None = None

    def reference(self, *, old):
        kind = STORAGES[self.numbers.dtype.str[1:]]
        return ("storage", kind, self.key, "cuda:0", len(self.numbers)) + ((self.view,) * old)


class Called:
    """Pickles as a call."""

    def __init__(self, what, *args, state=None):
        self.call = (what, args, state)

    def __reduce__(self):
        return self.call


def tensor(storage, offset, size, stride):
    """Pickles as a tensor does."""
    if not isinstance(storage, Storage):
        storage = Storage(storage)
    return Called(REBUILD, storage, offset, size, stride, False, OrderedDict())


def whole(array):
    """A contiguous tensor with these numbers."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(array.ravel(), 0, array.shape, strides)


def pickled(value, storages, *, old):
    """``value`` as PyTorch pickles it; its storages are added to ``storages``."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                storages[value.key] = value
                return value.reference(old=old)

    with tempfile.TemporaryFile() as file, patch.dict(sys.modules, TORCH):
        Pickler(file, protocol=2).dump(value)
        file.seek(0)
        return file.read()


def write_zip(path, value, **extra):
    """As ``torch.save`` does since 1.6; ``extra`` are entries of the zip."""
    storages = {}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled(value, storages, old=False))
        file.writestr("archive/version", "3\n")
        for key, storage in storages.items():
            file.writestr(f"archive/data/{key}", storage.numbers.tobytes())
        for name, data in extra.items():
            file.writestr(f"archive/{name}", data)


def write_old(path, value):
    """As ``torch.save`` did before 1.6."""
    storages = {}
    machine = {"protocol_version": 1001, "little_endian": True}
    parts = [pickle.dumps(one, protocol=2) for one in (MAGIC, 1001, machine)]
    parts.append(pickled(value, storages, old=True))
    parts.append(pickle.dumps(list(storages), protocol=2))
    for storage in storages.values():
        parts += [struct.pack("<q", len(storage.numbers)), storage.numbers.tobytes()]
    path.write_bytes(b"".join(parts))
