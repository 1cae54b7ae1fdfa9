import pickle
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.torch_files import read_state_dict

from .torch_writer import (
    FLOATS,
    MAGIC,
    REBUILD,
    Called,
    Storage,
    tensor,
    whole,
    write_old,
    write_zip,
)


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


@pytest.mark.slow
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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_that_all_keys_have_is_taken_off(path, write, prefix):
    write(path, {f"{prefix}conv.weight": whole(FLOATS), f"{prefix}conv.bias": whole(FLOATS)})
    assert list(read_state_dict(path)) == ["conv.weight", "conv.bias"]


def test_a_prefix_that_only_some_keys_have_is_their_name(path, write):
    write(path, {"module.weight": whole(FLOATS), "fc.weight": whole(FLOATS)})
    assert list(read_state_dict(path)) == ["module.weight", "fc.weight"]


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


def test_another_version_of_the_old_format_says_so(path):
    path.write_bytes(b"".join(pickle.dumps(one, protocol=2) for one in (MAGIC, 1002, {})))
    with pytest.raises(ModelFileError, match="of version 1002"):
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


@pytest.mark.slow
def test_a_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "empty.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelFileError, match="holds no tensors"):
        read_state_dict(path)
