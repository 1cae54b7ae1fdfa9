"""Stand-ins for TensorRT and pycuda at the boundary where frcnn calls them.

The engine computes with ONNX Runtime, on memory that only exists between ``mem_alloc`` and the
process's end, and only once its stream is synchronized.  What they refuse is what the real ones
refuse: copies without a context, shapes outside of the profile, engines of another version.
"""

import json
import sys
from contextlib import contextmanager
from enum import Enum, IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import onnxruntime

from frcnn_tensorrt import api, device

MAGIC = b"ftrt"


class Logger:
    class Severity(Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class TypingFlag(IntEnum):
    STRONGLY_TYPED = 1


class Flags11(Enum):
    TF32, GPU_FALLBACK = range(2)


class Flags10(Enum):
    TF32, GPU_FALLBACK, FP16, INT8, OBEY_PRECISION_CONSTRAINTS = range(5)


class Calibrator:
    """Base of calibrators."""


class Parser:
    def __init__(self, definition, logger):
        self._definition, self._logger = definition, logger
        self._errors = []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, number):
        name, operator, reason = self._errors[number]
        return SimpleNamespace(
            node_name=lambda: name, node_operator=lambda: operator, desc=lambda: reason
        )

    def parse(self, data):
        try:
            proto = onnx.load_from_string(data)
        except Exception:
            self._errors.append(("", "", "Failed to parse the ONNX model."))
            return False
        self._errors += [
            (node.name, node.op_type, "No importer registered.")
            for node in proto.graph.node
            if node.domain not in ("", "ai.onnx")
        ]
        self._definition.take(proto)
        return not self._errors


class Definition:
    def __init__(self, flags):
        self.strongly_typed = bool(flags & 1 << TypingFlag.STRONGLY_TYPED)

    def take(self, proto):
        self.proto = proto
        self.num_inputs = len(proto.graph.input)
        self.num_outputs = len(proto.graph.output)

    def get_input(self, number):
        return _tensor(self.proto.graph.input[number])

    def get_output(self, number):
        return _tensor(self.proto.graph.output[number])


def _tensor(value):
    dims = value.type.tensor_type.shape.dim
    shape = tuple(one.dim_value if one.HasField("dim_value") else -1 for one in dims)
    return SimpleNamespace(name=value.name, shape=shape, dtype=SimpleNamespace(name="FLOAT"))


class Config:
    """Remembers what it is told; TF32 is on from the start, as in TensorRT."""

    def __init__(self, flags):
        self.flags = {flags.TF32}
        self.profile, self.limits = None, {}
        self.int8_calibrator = self.default_device_type = self.DLA_core = None

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self.limits[pool] = size

    def add_optimization_profile(self, profile):
        self.profile = profile


class Profile(dict):
    def set_shape(self, name, *shapes):
        self[name] = shapes


class FakeEngine:
    def __init__(self, package, data):
        header, _, model = data.removeprefix(MAGIC).partition(b"\0")
        self._package = package
        self.session = onnxruntime.InferenceSession(model)
        self._profile = json.loads(header)["profile"]
        self.tensors = {one.name: one for one in self.session.get_inputs()}
        self._inputs = set(self.tensors)
        self.tensors |= {one.name: one for one in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, number):
        return list(self.tensors)[number]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self.tensors[name].type

    def get_tensor_shape(self, name):
        return tuple(n if isinstance(n, int) else -1 for n in self.tensors[name].shape)

    def get_tensor_profile_shape(self, name, index):
        assert index == 0
        return [tuple(shape) for shape in self._profile[name]]

    def create_execution_context(self):
        return FakeContext(self, self._package.memory)


class FakeContext:
    def __init__(self, engine, memory):
        self._engine, self._memory = engine, memory
        self._shapes, self._addresses = {}, {}

    def set_input_shape(self, name, shape):
        if name in self._engine._profile:
            smallest, _, largest = self._engine._profile[name]
            if not all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True)):
                return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        batch = next(iter(self._shapes.values()))[0]
        return tuple(batch if n == -1 else n for n in self._engine.get_tensor_shape(name))

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def execute_async_v3(self, stream_handle):
        self._memory.streams[stream_handle].later.append(self._execute)
        return True

    def _execute(self):
        feeds = {
            name: np.frombuffer(self._memory.blocks[self._addresses[name]], np.float32)[
                : int(np.prod(shape))
            ].reshape(shape)
            for name, shape in self._shapes.items()
        }
        outputs = self._engine.session.get_outputs()
        for tensor, values in zip(outputs, self._engine.session.run(None, feeds), strict=True):
            data = values.tobytes()
            self._memory.blocks[self._addresses[tensor.name]][: len(data)] = data


class Memory:
    """Of the device: blocks by address, streams by handle, and contexts that are current."""

    def __init__(self):
        self.blocks, self.streams, self.contexts = {}, {}, []
        self.allocations = self.batches = 0


def tensorrt(memory, version="11.0.0"):
    """A module like TensorRT's; ``built`` remembers definitions and configs."""
    package = ModuleType("tensorrt")
    package.__version__ = version
    package.memory = memory
    package.built = []
    flags = Flags10 if version.startswith("10.") else Flags11
    package.BuilderFlag = flags
    package.ILogger, package.Logger = Logger, Logger
    package.NetworkDefinitionCreationFlag = TypingFlag
    package.MemoryPoolType = Enum("MemoryPoolType", "WORKSPACE")
    package.DeviceType = Enum("DeviceType", "GPU DLA")
    package.TensorIOMode = TensorIOMode
    package.OnnxParser = Parser
    package.nptype = {
        "tensor(float)": np.float32,
        "tensor(int32)": np.int32,
    }.__getitem__
    if flags is Flags10:
        package.IInt8EntropyCalibrator2 = Calibrator

    class Builder:
        def __init__(self, logger):
            self._logger = logger

        def create_network(self, flags):
            return Definition(flags)

        def create_builder_config(self):
            return Config(package.BuilderFlag)

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, definition, config):
            package.built.append((definition, config))
            header = {"version": version, "profile": config.profile or {}}
            return (
                MAGIC + json.dumps(header).encode() + b"\0" + definition.proto.SerializeToString()
            )

    class Runtime:
        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, data):
            header = data.removeprefix(MAGIC).partition(b"\0")[0]
            if not data.startswith(MAGIC) or json.loads(header)["version"] != version:
                self._logger.log(Logger.Severity.ERROR, "Version tag does not match.")
                return None
            return FakeEngine(package, data)

    package.Builder, package.Runtime = Builder, Runtime
    return package


def pycuda(memory):
    """Modules like pycuda and pycuda.driver."""
    driver = ModuleType("pycuda.driver")
    driver.Error = type("Error", (Exception,), {})
    driver.init = lambda: None

    class Context:
        def push(self):
            memory.contexts.append(self)

        def pop(self):
            assert memory.contexts.pop() is self

        def detach(self):
            memory.detached = True

    class Device:
        def __init__(self, number):
            assert number == 0

        def retain_primary_context(self):
            return Context()

        def compute_capability(self):
            return 8, 6

        def name(self):
            return "Fake GPU"

    class Stream:
        def __init__(self):
            assert memory.contexts, "no context is current"
            self.later, self.handle = [], len(memory.streams) + 1
            memory.streams[self.handle] = self

        def synchronize(self):
            for work in self.later:
                work()
            self.later.clear()

    class Block:
        def __init__(self, size):
            memory.allocations += 1
            self._address = 4096 * memory.allocations
            memory.blocks[self._address] = bytearray(size)

        def __int__(self):
            return self._address

    def allocate(size):
        assert memory.contexts, "no context is current"
        return Block(size)

    def to_device(target, source, stream):
        def copy():
            memory.blocks[int(target)][: source.nbytes] = source.tobytes()

        assert memory.contexts, "no context is current"
        stream.later.append(copy)

    def to_host(target, source, stream):
        def copy():
            data = memory.blocks[int(source)][: target.nbytes]
            np.copyto(target, np.frombuffer(bytes(data), target.dtype).reshape(target.shape))

        assert memory.contexts, "no context is current"
        memory.batches += 1
        stream.later.append(copy)

    driver.Device, driver.Stream, driver.mem_alloc = Device, Stream, allocate
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = to_device, to_host
    driver.pagelocked_empty = np.empty
    parent = ModuleType("pycuda")
    parent.driver = driver
    return parent, driver


@contextmanager
def installed(monkeypatch, version="11.0.0"):
    """Both fakes in place of the real ones; gives the fake of TensorRT."""
    memory = Memory()
    package = tensorrt(memory, version)
    parent, driver = pycuda(memory)
    for module in (package, parent, driver):
        module.__spec__ = ModuleSpec(module.__name__, loader=None, origin="fake")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    _forget()
    try:
        yield package
    finally:
        _forget()


def _forget():
    """What a process finds out once, it finds out anew."""
    api.load.cache_clear()
    device.device.cache_clear()
