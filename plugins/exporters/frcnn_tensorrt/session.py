"""Runs exported detectors in TensorRT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import Runtime
from frcnn_onnx.joined import IMAGES, SIZES
from frcnn_onnx.runtime import runtime
from frcnn_tensorrt import api, sidecar
from frcnn_tensorrt.device import Device, device


def load(path: Path) -> Runtime:
    """A runtime for an engine that ``frcnn export tensorrt`` or ``frcnn convert`` wrote.

    Raises:
        ModelFileError: what it is of is not known, it was built by another version of TensorRT or
            for another GPU, or TensorRT, pycuda or a GPU is missing.
        FrcnnError: TensorRT is not installed.
    """
    described, built = sidecar.read(path)
    engine = Engine(path, built, device())
    return runtime(
        dataclasses.replace(described, precision=built.precision),
        engine.run,
        takes_sizes=SIZES in engine.inputs,
        least=engine.least,
        most=engine.most,
    )


@dataclass
class _Buffer:
    """A tensor's memory on the device and, page-locked, on the host; grows when it has to."""

    dtype: np.dtype
    memory: Any = None
    host: np.ndarray | None = None

    def fit(self, device: Device, shape: tuple[int, ...]) -> np.ndarray:
        """The host's array of this shape."""
        size = int(np.prod(shape))
        if self.host is None or self.host.size < size:
            self.memory = None  # freed before more is asked for
            self.memory = device.allocate(max(size, 1) * self.dtype.itemsize)
            self.host = device.host_array((max(size, 1),), self.dtype)
        return self.host[:size].reshape(shape)


class Engine:
    """An engine on the device, with the memory of its inputs and outputs.

    Args:
        path: the file.
        built: what is known of how it was built, for error messages.

    Raises:
        ModelFileError: it cannot be run here.
    """

    def __init__(self, path: Path, built: sidecar.Built, device: Device):
        package = api.load()
        self._device = device
        with device.current(), api.errors(package) as errors:
            self._runtime = package.Runtime(api.logger(package))
            self._engine = self._runtime.deserialize_cuda_engine(_content(path))
            if self._engine is None:
                raise ModelFileError(_refused(path, built, package, device, errors))
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise ModelFileError(
                    f"{path}: the GPU has too little memory for it, or TensorRT failed: "
                    + "; ".join(errors)
                )
            self._stream = device.stream()
        names = [
            self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)
        ]
        self._buffers = {
            name: _Buffer(np.dtype(package.nptype(self._engine.get_tensor_dtype(name))))
            for name in names
        }
        mode = package.TensorIOMode.INPUT
        self.inputs = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        self.outputs = [name for name in names if name not in self.inputs]
        if IMAGES not in self.inputs:
            raise ModelFileError(
                f"{path} takes {', '.join(self.inputs)} and not {IMAGES}: it is no engine of a "
                "detector of frcnn."
            )
        self.least, self.most = self._batch_sizes()
        device.close_at_release(self)

    def _batch_sizes(self) -> tuple[int, int]:
        """Images in the smallest and in the largest batch that it was built for."""
        fixed = self._engine.get_tensor_shape(IMAGES)[0]
        if fixed != -1:
            return fixed, fixed
        smallest, _, largest = self._engine.get_tensor_profile_shape(IMAGES, 0)
        return smallest[0], largest[0]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for inputs of a size that the engine was built for."""
        with self._device.current():
            for name, values in feeds.items():
                buffer = self._buffers[name]
                host = buffer.fit(self._device, values.shape)
                np.copyto(host, values, casting="same_kind")
                if not self._context.set_input_shape(name, values.shape):
                    raise ModelFileError(f"The engine was not built for {name} of {values.shape}.")
                self._device.to_device(buffer.memory, host, self._stream)
            hosts = {
                name: self._buffers[name].fit(
                    self._device, tuple(self._context.get_tensor_shape(name))
                )
                for name in self.outputs
            }
            for name, buffer in self._buffers.items():
                self._context.set_tensor_address(name, int(buffer.memory))
            with api.errors(api.load()) as errors:
                done = self._context.execute_async_v3(self._stream.handle)
            if not done:
                raise ModelFileError(f"TensorRT failed: {'; '.join(errors)}")
            for name, host in hosts.items():
                self._device.to_host(host, self._buffers[name].memory, self._stream)
            self._stream.synchronize()
        return {name: host.copy() for name, host in hosts.items()}

    def close(self) -> None:
        """Free what is on the device, in the order that TensorRT wants."""
        with self._device.current():
            self._buffers.clear()
            self._context = self._engine = self._runtime = self._stream = None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def _refused(
    path: Path, built: sidecar.Built, package: Any, device: Device, errors: list[str]
) -> str:
    here = (
        f"{api.title(package)} and {device.name}, of compute capability {device.compute_capability}"
    )
    was = [part for part in (built.by, f"a GPU of {built.gpu}" if built.gpu else "") if part]
    lines = [
        f"{path} cannot be run here, with {here}.",
        "  An engine runs with the version of TensorRT and the kind of GPU that it was built for"
        + (f": {' and '.join(was)}." if was else "."),
        "  Build it again on this machine: frcnn convert MODEL.onnx -e ENGINE",
    ]
    return "\n".join(lines + [f"  {error}" for error in errors])
