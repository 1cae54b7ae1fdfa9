import json
import struct

import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.torch_files import read_state_dict

from .torch_writer import FLOATS


def write_safetensors(path, entries, data):
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


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


@pytest.mark.slow
def test_safetensors_cut_off_within_the_header_are_an_error(path):
    write_safetensors(path, {"x": {}}, b"")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="cut short, within its header"):
        read_state_dict(path)
