import os

import pytest

from frcnn_core.errors import FrcnnError
from frcnn_core.files import require_free, set_aside, whole, write_whole


def test_text_is_written_as_utf8_without_translating_line_ends(tmp_path):
    write_whole(tmp_path / "a.txt", "Straße\n")
    assert (tmp_path / "a.txt").read_bytes() == b"Stra\xc3\x9fe\n"


def test_missing_folders_are_made(tmp_path):
    write_whole(tmp_path / "run" / "logs" / "a", b"1")
    assert (tmp_path / "run" / "logs" / "a").read_bytes() == b"1"


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.tlt"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_does_not_exist_under_its_name_before_the_block_ends(tmp_path):
    with whole(tmp_path / "a.png") as temporary:
        temporary.write_bytes(b"1")
        assert not (tmp_path / "a.png").exists()
        assert temporary.suffix == ".png"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_can_be_written_whole_too(tmp_path):
    with whole(tmp_path / "saved") as temporary:
        temporary.mkdir()
        (temporary / "a").write_bytes(b"1")
    assert (tmp_path / "saved" / "a").read_bytes() == b"1"


def test_a_folder_that_fails_is_removed(tmp_path):
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "saved") as temporary:
        temporary.mkdir()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_an_error_for_the_user(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FrcnnError, match="file/a cannot be written"):
        write_whole(tmp_path / "file" / "a", b"1")


def test_new_files_are_as_readable_as_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_set_aside_is_gone_once_something_else_is_in_its_place(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "saved").mkdir()
    with set_aside([tmp_path / "a", tmp_path / "saved", tmp_path / "nothing"]):
        assert not (tmp_path / "a").exists()
        (tmp_path / "a").write_text("new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "new"


def test_what_was_set_aside_comes_back_when_the_block_raises(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "b").write_text("old")
    with (
        pytest.raises(ZeroDivisionError),
        set_aside([tmp_path / "a", tmp_path / "saved"]),
    ):
        (tmp_path / "a").write_text("half of the n")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a", "saved"]
    assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "saved" / "b").read_text() == "old"


def test_paths_that_are_taken_are_told_all_at_once(tmp_path):
    taken, other, free = (tmp_path / name for name in ("a", "b", "c"))
    taken.write_text("somebody's")
    other.mkdir()
    require_free([free])
    with pytest.raises(FrcnnError, match=r"/a, .*/b exists\. Give another name"):
        require_free([taken, free, other])
