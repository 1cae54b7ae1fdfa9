import argparse
import os
import pickle
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import torch_pickles
from frcnn_core.model_files.torch_files import read_state_dict

from .torch_writer import FLOATS, Called, Storage, named, tensor, whole, write_old


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
    known = torch_pickles._KNOWN[name.replace(" ", ".")]
    before = known.__init__
    change = b"N}X\x08\0\0\0__init__K\x01s\x86b."
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "w/data.pkl", b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + change
        )
    with pytest.raises(ModelFileError, match="cut short or damaged"):
        read_state_dict(path)
    assert known.__init__ is before


def test_a_storage_of_two_types_is_an_error(path, write):
    rows = [Storage(FLOATS, key="7"), Storage(FLOATS.astype("<i4"), key="7")]
    write(path, {str(row.numbers.dtype): tensor(row, 0, (6,), (1,)) for row in rows})
    with pytest.raises(ModelFileError, match="a storage is of two types"):
        read_state_dict(path)


@pytest.mark.slow
def test_views_of_storages_are_left_to_the_versions_that_wrote_them(path):
    storage = Storage(FLOATS, view=("root", 2, 3))
    write_old(path, {"x": tensor(storage, 0, (3,), (1,))})
    with pytest.raises(ModelFileError, match="only early PyTorch"):
        read_state_dict(path)
