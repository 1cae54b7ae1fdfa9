import json

import pytest

from frcnn_core.data import partitions
from frcnn_core.errors import DataError

NAMES = list("abcdefghij")


def test_the_sorted_split_takes_the_first_names():
    assert partitions.split_sorted(NAMES, 0.2) == [list("ab"), list("cdefghij")]


def test_a_split_rounds_the_first_part_down():
    assert partitions.split_sorted(NAMES, 0.19) == [["a"], list("bcdefghij")]


def test_the_shuffled_split_has_the_same_sizes_and_loses_nothing():
    first, second = partitions.split_shuffled(NAMES, 0.2, seed=1)
    assert (len(first), len(second)) == (2, 8)
    assert sorted(first + second) == NAMES


def test_the_shuffled_split_is_a_function_of_its_seed():
    assert partitions.split_shuffled(NAMES, 0.5, 1) == partitions.split_shuffled(NAMES, 0.5, 1)
    splits = {tuple(partitions.split_shuffled(NAMES, 0.5, seed)[0]) for seed in range(10)}
    assert len(splits) > 5


def test_sequences_are_dealt_round_robin_the_longest_to_the_last_partition():
    sequences = {"x": ["1"], "y": ["2", "3", "4"], "z": ["5", "6"], "w": ["7"]}
    # By length, then name: y, z, w, x; y and w go to one partition, z and x to the other.
    assert partitions.deal_sequences(sequences, 2) == [["5", "6", "1"], ["2", "3", "4", "7"]]


def test_sequences_are_read_from_json(tmp_path):
    path = tmp_path / "frames.json"
    path.write_text(json.dumps({"drive": ["a", "b"]}))
    assert partitions.read_sequences(path) == {"drive": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('["a"]', "must look like"),
        ('{"drive": [1, 2]}', "must look like"),
        ('{"drive": ["a"], "other": ["a"]}', "'a': a frame may be listed only once"),
    ],
)
def test_a_file_that_is_no_list_of_sequences_is_an_error(tmp_path, text, message):
    path = tmp_path / "frames.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        partitions.read_sequences(path)


def test_a_missing_file_of_sequences_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read as JSON"):
        partitions.read_sequences(tmp_path / "none.json")


def test_a_list_has_a_name_a_line_with_or_without_extension(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("b\n\n sub/a.JPG \n./c.v2\nd e.png")
    assert partitions.read_list(path) == {"b": 1, "sub/a": 3, "c.v2": 4, "d e": 5}


def test_a_name_that_is_listed_twice_is_an_error_with_both_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a\nb\na.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt:3: 'a' is in line 1 already"):
        partitions.read_list(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n", "lists no images"), (b"\xff\xfe\xff", "not a text file")]
)
def test_a_file_that_is_no_list_is_an_error(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        partitions.read_list(path)


@pytest.mark.slow
def test_a_list_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        partitions.read_list(tmp_path / "list.txt")
