"""The GPU, by pycuda: memory, copies and one context for the whole process.

Which GPU it is says ``CUDA_VISIBLE_DEVICES``; the first one that is visible.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from frcnn_core.errors import ModelFileError


class Closes(Protocol):
    def close(self) -> None:
        """Free what is on the device."""


class Device:
    """A GPU's primary context, which TensorFlow and others in this process share."""

    def __init__(self) -> None:
        try:
            import pycuda.driver as cuda
        except ImportError as error:
            raise ModelFileError(
                f"TensorRT engines run by pycuda, which cannot be imported here: {error}. "
                "pip install pycuda, on a machine with a GPU and the CUDA toolkit."
            ) from error
        self._cuda = cuda
        try:
            cuda.init()
            found = cuda.Device(0)
            self._context = found.retain_primary_context()
        except cuda.Error as error:
            raise ModelFileError(f"TensorRT engines need a GPU: {error}") from error
        self.compute_capability = ".".join(map(str, found.compute_capability()))
        """E.g. 8.6."""
        self.name: str = found.name()
        self._users: WeakSet[Closes] = WeakSet()

    @contextmanager
    def current(self) -> Iterator[None]:
        """CUDA calls within are for this device, whichever thread makes them."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def stream(self) -> Any:
        """A queue of work; its ``handle`` is what TensorRT takes."""
        return self._cuda.Stream()

    def allocate(self, size: int) -> Any:
        """Memory of ``size`` bytes on the device; ``int()`` of it is its address."""
        return self._cuda.mem_alloc(size)

    def host_array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array that can be copied from and to the device while other work goes on."""
        return self._cuda.pagelocked_empty(shape, dtype)

    def to_device(self, target: Any, source: np.ndarray, stream: Any) -> None:
        self._cuda.memcpy_htod_async(target, source, stream)

    def to_host(self, target: np.ndarray, source: Any, stream: Any) -> None:
        self._cuda.memcpy_dtoh_async(target, source, stream)

    def close_at_release(self, user: Closes) -> None:
        """Close ``user`` before the context goes, if it is still there then."""
        self._users.add(user)

    def release(self) -> None:
        """Close what uses the device, and give the context back."""
        for user in list(self._users):
            user.close()
        self._context.detach()


@cache
def device() -> Device:
    """The one of this process, released when it ends.

    Raises:
        ModelFileError: pycuda is not installed, or there is no GPU.
    """
    found = Device()
    atexit.register(found.release)
    return found


def compute_capability() -> str | None:
    """Of the GPU, e.g. 8.6; None where pycuda or a GPU is missing."""
    try:
        return device().compute_capability
    except ModelFileError:
        return None
