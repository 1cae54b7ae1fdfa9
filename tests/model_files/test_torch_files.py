"""Files as PyTorch writes them, made here by a small writer of our own."""

import argparse
import json
import os
import pickle
import struct
import sys
import tempfile
import zipfile
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import torch_files
from frcnn_core.model_files.torch_files import read_state_dict

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


def write_safetensors(path, entries, data):
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.fixture(params=[write_zip, write_old])
def write(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"


def test_tensors_come_by_their_key_with_their_shape_and_numbers(path, write):
    write(path, OrderedDict(weight=whole(FLOATS.reshape(2, 3)), bias=whole(FLOATS[:2])))
    tensors = read_state_dict(path)
    assert list(tensors) == ["weight", "bias"]
    assert tensors["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["bias"].tolist() == [0, 1]
    assert tensors["bias"].dtype == np.float32


def test_a_transposed_tensor_is_not_read_as_its_numbers_lie(path, write):
    write(path, {"weight": tensor(FLOATS, 0, (3, 2), (1, 3))})
    assert read_state_dict(path)["weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_tensor_can_begin_within_a_storage_that_others_use_too(path, write):
    storage = Storage(FLOATS)
    views = {"a": tensor(storage, 2, (2,), (1,)), "b": tensor(storage, 1, (2, 2), (2, 1))}
    write(path, views)
    tensors = read_state_dict(path)
    assert tensors["a"].tolist() == [2, 3]
    assert tensors["b"].tolist() == [[1, 2], [3, 4]]
    assert np.shares_memory(tensors["a"], tensors["b"])


def test_tensors_cannot_be_written_to_since_they_may_share_memory(path, write):
    write(path, {"x": whole(FLOATS), "half": whole(FLOATS.astype("<f2"))})
    assert not any(array.flags.writeable for array in read_state_dict(path).values())


@st.composite
def views(draw):
    """(storage, offset, size, strides) that fit."""
    size = draw(st.lists(st.integers(0, 4), max_size=4))
    strides = draw(st.lists(st.integers(0, 9), min_size=len(size), max_size=len(size)))
    offset = draw(st.integers(0, 5))
    last = offset + sum(max(n - 1, 0) * step for n, step in zip(size, strides, strict=True))
    numbers = (0 if 0 in size else last + 1) + draw(st.integers(0, 2))
    return np.arange(numbers, dtype=np.float32), offset, tuple(size), tuple(strides)


@pytest.mark.parametrize("write", [write_zip, write_old])
@given(views())
def test_number_by_number_any_view_is_what_its_strides_say(write, view):
    numbers, offset, size, strides = view
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "w.pth", {"x": tensor(*view)})
        found = read_state_dict(Path(folder) / "w.pth")["x"]
    assert found.shape == size
    for index in np.ndindex(size):
        place = offset + sum(i * step for i, step in zip(index, strides, strict=True))
        assert found[index] == numbers[place]


@pytest.mark.parametrize("dtype", ["<f8", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1"])
def test_other_types_than_float32_stay_what_they_are(path, write, dtype):
    numbers = np.array([0, 1, 1], dtype)
    write(path, {"x": whole(numbers)})
    found = read_state_dict(path)["x"]
    assert found.dtype == numbers.dtype
    assert found.tolist() == numbers.tolist()


def test_half_and_bfloat16_become_float32(path, write):
    bits = np.array([0x3FC0, 0xC000], "<u2")  # 1.5 and -2: the first half of their float32
    write(path, {"half": whole(np.array([1.5, -2], "<f2")), "bfloat16": whole(bits)})
    for array in read_state_dict(path).values():
        assert array.dtype == np.float32
        assert array.tolist() == [1.5, -2]


def test_the_counter_of_a_batch_normalization_is_a_whole_number(path, write):
    write(path, {"bn.num_batches_tracked": whole(np.array(7, "<i8"))})
    counter = read_state_dict(path)["bn.num_batches_tracked"]
    assert (counter.shape, counter.dtype, int(counter)) == ((), np.int64, 7)


def test_a_machine_that_stores_the_high_byte_first_says_so(path):
    write_zip(path, {"x": whole(FLOATS.astype(">f4"))}, byteorder="big")
    found = read_state_dict(path)["x"]
    assert found.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.dtype == np.dtype("=f4")
    write_zip(path, {"x": whole(FLOATS)}, byteorder="little")
    assert read_state_dict(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("function", "rest"),
    [
        (named("torch._utils", "_rebuild_parameter"), [True, OrderedDict()]),
        (named("torch._utils", "_rebuild_parameter_with_state"), [True, OrderedDict(), {"a": 1}]),
    ],
)
def test_a_parameter_is_its_tensor(path, write, function, rest):
    write(path, {"x": Called(function, whole(FLOATS), *rest)})
    assert read_state_dict(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_parameter_of_the_first_versions_is_its_tensor(path):
    # They call the class and then set (requires_grad, volatile, hooks).
    old = named("torch._utils", "_rebuild_tensor")
    data = Called(old, Storage(FLOATS), 0, (6,), (1,))
    parameter = named("torch.nn.parameter", "Parameter")
    write_old(path, {"x": Called(parameter, data, state=(True, False, OrderedDict()))})
    assert read_state_dict(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_versions_in_a_state_dict_are_no_tensors(path, write):
    state = OrderedDict(x=whole(FLOATS), version=3, extra=None)
    state._metadata = OrderedDict({"": {"version": 1}})
    write(path, state)
    assert list(read_state_dict(path)) == ["x"]


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_the_state_dict_of_a_checkpoint_is_found(path, write, key):
    checkpoint = {
        "epoch": 3,
        "best_acc1": whole(np.array(76.1, np.float32)),
        "optimizer": {"state": {0: {"momentum_buffer": whole(FLOATS)}}},
        "lr_scheduler": {"milestones": Counter([30, 60])},
        "args": argparse.Namespace(lr=0.1, classes={"car"}),
        "shape": Called(named("torch", "Size"), (3, 4)),
        "device": Called(named("torch", "device"), "cuda"),
        key: OrderedDict(x=whole(FLOATS)),
    }
    write(path, checkpoint)
    assert list(read_state_dict(path)) == ["x"]


def test_a_state_dict_is_found_two_levels_down(path, write):
    write(path, {"model": {"epoch": 1, "state_dict": {"x": whole(FLOATS)}}})
    assert list(read_state_dict(path)) == ["x"]


def test_a_checkpoint_that_holds_itself_has_an_end(path, write):
    checkpoint = {}
    checkpoint["model"] = checkpoint
    write(path, checkpoint)
    with pytest.raises(ModelFileError, match="a dict with the keys 'model'"):
        read_state_dict(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_that_all_keys_have_is_taken_off(path, write, prefix):
    write(path, {f"{prefix}conv.weight": whole(FLOATS), f"{prefix}conv.bias": whole(FLOATS)})
    assert list(read_state_dict(path)) == ["conv.weight", "conv.bias"]


def test_a_prefix_that_only_some_keys_have_is_their_name(path, write):
    write(path, {"module.weight": whole(FLOATS), "fc.weight": whole(FLOATS)})
    assert list(read_state_dict(path)) == ["module.weight", "fc.weight"]


def test_a_pickled_model_is_refused_by_its_class_with_what_to_do(path, write):
    write(path, {"model": Called(named("torch.nn.modules.container", "Sequential"))})
    with pytest.raises(
        ModelFileError, match=r"w\.pth.*torch\.nn\.modules\.container\.Sequential.*state_dict\(\)"
    ):
        read_state_dict(path)


def test_a_command_in_a_pickle_is_not_run(tmp_path, path, write):
    proof = tmp_path / "it_ran"
    write(path, {"x": whole(FLOATS), "y": Called(os.system, f"touch {proof}")})
    with pytest.raises(ModelFileError, match=r"holds \w+\.system"):
        read_state_dict(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("torch._utils", "_import_dotted_name"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("frcnn_core.model_files.torch_files", "os"),
    ],
)
def test_only_listed_names_are_known_to_a_pickle(path, module, name):
    # STACK_GLOBAL of protocol 4 takes names with dots.
    words = b"".join(pickle.SHORT_BINUNICODE + bytes([len(w)]) + w.encode() for w in (module, name))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w/data.pkl", b"\x80\x04" + words + b"\x93.")
    with pytest.raises(ModelFileError, match=f"it holds {module}.{name}"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "name",
    [
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "argparse Namespace",
        "torch Size",
    ],
)
def test_a_pickle_cannot_change_what_it_may_call(path, name):
    # BUILD with (None, {"__init__": 1}) sets an attribute of the class itself.
    known = torch_files._KNOWN[name.replace(" ", ".")]
    before = known.__init__
    change = b"N}X\x08\0\0\0__init__K\x01s\x86b."
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "w/data.pkl", b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + change
        )
    with pytest.raises(ModelFileError, match="cut short or damaged"):
        read_state_dict(path)
    assert known.__init__ is before


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ((0, (7,), (1,)), "x needs 7 numbers and its storage has 6"),
        ((4, (3,), (1,)), "x needs 7 numbers and its storage has 6"),
        ((0, (3, 2), (1, 4)), "x needs 7 numbers and its storage has 6"),
        ((0, (2,), (-1,)), "strides of x make no sense"),
        ((-1, (2,), (1,)), "strides of x make no sense"),
        ((0, (2, 2), (1,)), "strides of x make no sense"),
        ((0, (2.0,), (1,)), "strides of x make no sense"),
        ((0, None, None), "strides of x make no sense"),
        ((0, (2**40, 2**40), (0, 0)), "size of x makes no sense"),
        ((0, (1,), (2**63,)), "size of x makes no sense"),
        ((0, (1,) * 100, (1,) * 100), "size of x makes no sense"),
    ],
)
def test_a_tensor_that_does_not_lie_within_its_storage_is_an_error(path, write, view, says):
    write(path, {"x": tensor(FLOATS, *view)})
    with pytest.raises(ModelFileError, match=says):
        read_state_dict(path)


def test_a_tensor_without_a_storage_is_an_error(path, write):
    write(path, {"x": Called(REBUILD, [1, 2], 0, (2,), (1,))})
    with pytest.raises(ModelFileError, match="x has no storage"):
        read_state_dict(path)


def test_a_storage_that_the_zip_lacks_is_an_error(path, tmp_path):
    write_zip(tmp_path / "whole.pth", {"x": whole(FLOATS)})
    with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("archive/data.pkl", old.read("archive/data.pkl"))
    with pytest.raises(ModelFileError, match=r"lacks a part: .*archive/data/"):
        read_state_dict(path)


def test_a_storage_that_an_old_file_does_not_list_is_an_error(path):
    storage = Storage(FLOATS, key="140")
    write_old(path, {"x": tensor(storage, 0, (6,), (1,))})
    listed, none = (pickle.dumps(keys, protocol=2) for keys in (["140"], []))
    path.write_bytes(path.read_bytes().replace(listed, none))
    with pytest.raises(ModelFileError, match="lacks a part: the storage 140"):
        read_state_dict(path)


def test_an_old_file_that_lists_another_storage_is_an_error(path):
    write_old(path, {"x": tensor(Storage(FLOATS, key="140"), 0, (6,), (1,))})
    listed, other = (pickle.dumps([key], protocol=2) for key in ("140", "141"))
    path.write_bytes(path.read_bytes().replace(listed, other))
    with pytest.raises(ModelFileError, match="the list of its storages makes no sense"):
        read_state_dict(path)


def test_a_storage_of_two_types_is_an_error(path, write):
    rows = [Storage(FLOATS, key="7"), Storage(FLOATS.astype("<i4"), key="7")]
    write(path, {str(row.numbers.dtype): tensor(row, 0, (6,), (1,)) for row in rows})
    with pytest.raises(ModelFileError, match="a storage is of two types"):
        read_state_dict(path)


def test_an_old_file_cut_off_within_its_numbers_says_how_much_is_missing(path):
    write_old(path, {"x": whole(FLOATS)})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelFileError, match="cut short: at least 5 bytes are missing"):
        read_state_dict(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_cut_off_anywhere_says_so(path, write, kept):
    write(path, {f"layer{i}.weight": whole(FLOATS) for i in range(9)})
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ModelFileError, match=r"w\.pth: it is cut short"):
        read_state_dict(path)


def test_a_changed_byte_in_a_zip_is_noticed(path):
    write_zip(path, {"x": whole(FLOATS)})
    path.write_bytes(path.read_bytes().replace(FLOATS.tobytes(), FLOATS[::-1].tobytes()))
    with pytest.raises(ModelFileError, match="damaged"):
        read_state_dict(path)


def test_views_of_storages_are_left_to_the_versions_that_wrote_them(path):
    storage = Storage(FLOATS, view=("root", 2, 3))
    write_old(path, {"x": tensor(storage, 0, (3,), (1,))})
    with pytest.raises(ModelFileError, match="only early PyTorch"):
        read_state_dict(path)


def test_another_version_of_the_old_format_says_so(path):
    path.write_bytes(b"".join(pickle.dumps(one, protocol=2) for one in (MAGIC, 1002, {})))
    with pytest.raises(ModelFileError, match="of version 1002"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (whole(FLOATS), "a single tensor"),
        ([whole(FLOATS)], "a list"),
        ({"epoch": 1, "loss": 0.5}, "a dict with the keys 'epoch', 'loss'"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_holds(path, write, value, says):
    write(path, value)
    with pytest.raises(ModelFileError, match=f"no state dict, but {says}.*state_dict"):
        read_state_dict(path)


def test_a_torchscript_archive_says_so(path):
    write_zip(path, {"x": whole(FLOATS)}, **{"code/__torch__.py": "class Module: ..."})
    with pytest.raises(ModelFileError, match=r"TorchScript.*torch\.jit\.load"):
        read_state_dict(path)


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n", pickle.dumps({"x": 1})])
def test_another_kind_of_file_says_so(path, data):
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"neither a file of torch\.save nor a safetensors"):
        read_state_dict(path)


def test_another_kind_of_zip_says_so(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "")
    with pytest.raises(ModelFileError, match=r"a zip file, but torch\.save did not write it"):
        read_state_dict(path)


def test_a_missing_file_says_so(path):
    with pytest.raises(ModelFileError, match="there is no such file"):
        read_state_dict(path)


def test_safetensors_are_read_by_their_header(path):
    entries = {
        "__metadata__": {"format": "pt"},
        "module.a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "module.b": {"dtype": "BF16", "shape": [1], "data_offsets": [24, 26]},
        "module.c": {"dtype": "I64", "shape": [], "data_offsets": [26, 34]},
        "module.d": {"dtype": "F16", "shape": [0, 4], "data_offsets": [34, 34]},
    }
    data = FLOATS.tobytes() + b"\xc0\x3f" + struct.pack("<q", 7)
    write_safetensors(path, entries, data)
    tensors = read_state_dict(path)
    assert list(tensors) == ["a", "b", "c", "d"]
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["b"].tolist() == [1.5]
    assert tensors["c"].tolist() == 7
    assert tensors["d"].shape == (0, 4)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"dtype": "F32", "shape": [6], "data_offsets": [4, 28]}, "end at byte 28 of 24"),
        ({"dtype": "F32", "shape": [7], "data_offsets": [0, 24]}, "x needs 7 numbers"),
        ({"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]}, "x make no sense"),
        ({"dtype": "F8_E4M3", "shape": [6], "data_offsets": [0, 6]}, "type .* F8_E4M3"),
        ({"dtype": "F32", "shape": [6]}, "its header makes no sense"),
    ],
)
def test_safetensors_with_a_wrong_header_are_an_error(path, entry, says):
    write_safetensors(path, {"x": entry}, FLOATS.tobytes())
    with pytest.raises(ModelFileError, match=says):
        read_state_dict(path)


def test_safetensors_cut_off_within_the_header_are_an_error(path):
    write_safetensors(path, {"x": {}}, b"")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="cut short, within its header"):
        read_state_dict(path)


def test_a_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "empty.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelFileError, match="holds no tensors"):
        read_state_dict(path)
