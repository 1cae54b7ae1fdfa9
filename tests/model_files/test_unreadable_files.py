"""Files that the system will not open: each reader says which, and why, in one sentence."""

import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import (
    DarknetFile,
    archive,
    encryption,
    read_hdf5,
    read_keras,
    read_state_dict,
    recognise,
)
from frcnn_core.model_files.keras_files import read_note

READERS = (archive.read, DarknetFile, recognise, read_hdf5, read_keras, read_note, read_state_dict)


@pytest.fixture(params=["a loop of links", "too long a name"])
def unreadable(request, tmp_path):
    if request.param == "too long a name":
        return tmp_path / ("x" * 300)
    path = tmp_path / "loop"
    path.symlink_to(path)
    return path


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(read, unreadable):
    with pytest.raises(ModelFileError, match="cannot be read: ") as caught:
        read(unreadable)
    assert str(unreadable) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_file_that_is_not_there_is_an_error_that_names_it(read, tmp_path):
    with pytest.raises(ModelFileError) as caught:
        read(tmp_path / "absent")
    assert str(tmp_path / "absent") in str(caught.value)


@pytest.mark.slow
def test_more_than_the_cipher_takes_is_told_with_what_to_do(monkeypatch):
    class Full:
        def encrypt(self, nonce, data, header):
            raise OverflowError

    monkeypatch.setattr(encryption, "_derive", lambda *_: (Full(), bytes(16)))
    with pytest.raises(ModelFileError, match="at most 2 can be encrypted"):
        encryption.encrypt(b"weights", "key")
