"""The tensors that a pickle of ``torch.save`` tells of, without running code from it.

In a pickle a tensor is a view of a storage: an offset, a size and strides, counted in numbers.  It
need not be contiguous, and several tensors may share a storage.

Source: ``torch/serialization.py``, ``torch/_utils.py``.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO, NamedTuple

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.stored_tensors import BFLOAT16

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the state dict in their checkpoints."""


class Storage(NamedTuple):
    """A row of numbers in a file."""

    key: str
    kind: str
    """A value of ``_STORAGES``."""


class _Sealed(type):
    """Classes that a pickle cannot change: it may set attributes of all it is given."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"it sets {cls.__name__}.{name}")


class Tensor(metaclass=_Sealed):
    """What a pickle says of a tensor, unchecked."""

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def __setstate__(self, state: Any) -> None:
        """Parameters that early PyTorch pickled have a state, which is nothing of their values."""


class Unpickler(pickle.Unpickler):
    """Reads the next pickle of a file, and makes nothing but what ``_KNOWN`` lists."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="utf-8")  # for text of Python 2
        self.storages: dict[str, Storage] = {}
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

    def persistent_load(self, pid: Any) -> Storage:
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
        storage = self.storages.setdefault(key, Storage(key, storage_type))
        if storage.kind != storage_type:
            raise pickle.UnpicklingError("a storage is of two types")
        return storage


def state_dict(content: Any) -> dict[str, Tensor]:
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
    if isinstance(content, Tensor):
        what = "a single tensor"
    raise ModelFileError(
        f'it holds no state dict, but {what}. torch.save(model.state_dict(), "weights.pth") writes '
        "one."
    )


def _find_tensors(content: Any, *, depth: int = 2) -> dict[str, Tensor]:
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
        if isinstance(key, str) and isinstance(value, Tensor)
    }


class _Dict(dict, metaclass=_Sealed):
    """In place of an OrderedDict, whose attributes could hide its methods."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """A state dict has the versions of its modules here."""


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
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_parameter": _Parameter,
    "torch._utils._rebuild_parameter_with_state": _Parameter,
    "torch.nn.parameter.Parameter": _Parameter,
} | {f"torch.{name}": kind for name, kind in _STORAGES.items()}
"""All that a pickle can call or name.  Nothing here acts on anything but its own arguments."""
