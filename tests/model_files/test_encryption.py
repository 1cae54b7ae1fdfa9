import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.encryption import decrypt, encrypt, is_encrypted

HEADER = 9 + 1 + 3 + 16 + 12 + 16 + 8


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"weights", bytes(100_000)])
@pytest.mark.parametrize("key", ["k", "schlüssel mit leerzeichen"])
def test_decrypting_gives_back_what_was_encrypted(data, key):
    assert decrypt(encrypt(data, key), key) == data


def test_an_envelope_is_81_bytes_longer_a_65_byte_header_and_a_tag():
    assert len(encrypt(b"12345", "k")) == HEADER + 5 + 16


def test_an_envelope_is_known_by_its_first_bytes():
    assert is_encrypted(encrypt(b"", "k")[:9])
    assert not is_encrypted(b"PK\x03\x04")


def test_equal_content_is_encrypted_differently_each_time():
    assert encrypt(b"weights", "k")[HEADER:] != encrypt(b"weights", "k")[HEADER:]


def test_the_content_cannot_be_seen():
    assert b"weights" not in encrypt(b"weights", "k")


def test_a_wrong_key_is_told_from_an_altered_file():
    data = encrypt(b"weights", "k")
    with pytest.raises(ModelFileError, match=r"the key is wrong.*-k"):
        decrypt(data, "K")
    altered = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ModelFileError, match="the key is right but the content was altered"):
        decrypt(altered, "k")


def test_no_key_says_that_one_is_needed():
    with pytest.raises(ModelFileError, match="is encrypted: give its key with -k"):
        decrypt(encrypt(b"weights", "k"), "")


def test_an_empty_key_cannot_encrypt():
    with pytest.raises(ModelFileError, match="empty key"):
        encrypt(b"weights", "")


@pytest.mark.slow
@pytest.mark.parametrize("length", [9, 40, HEADER, HEADER + 1, HEADER + 22])
def test_a_file_cut_short_anywhere_says_so(length):
    with pytest.raises(ModelFileError, match="cut short"):
        decrypt(encrypt(b"weights", "k")[:length], "k")


@pytest.mark.slow
def test_no_byte_can_be_altered_unnoticed():
    data = encrypt(b"ab", "k")
    for i in [0, 9, *range(13, len(data))]:
        altered = bytearray(data)
        altered[i] ^= 0x80
        with pytest.raises(ModelFileError):
            decrypt(bytes(altered), "k")


def test_a_header_cannot_ask_for_unbounded_memory():
    data = bytearray(encrypt(b"weights", "k"))
    data[10] = 63
    with pytest.raises(ModelFileError, match="header was altered"):
        decrypt(bytes(data), "k")


@pytest.mark.slow
def test_a_newer_version_is_named():
    data = bytearray(encrypt(b"weights", "k"))
    data[9] = 2
    with pytest.raises(ModelFileError, match="version 2 and this frcnn reads 1"):
        decrypt(bytes(data), "k")
