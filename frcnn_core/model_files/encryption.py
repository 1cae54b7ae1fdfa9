"""The envelope around a model file that a key protects.

Layout, all numbers big-endian::

    9 bytes    FRCNN-ENC
    1          version of this layout, 1
    1 1 1      scrypt cost: log2(n), r, p
    16         salt
    12         nonce
    16         check: tells a wrong key from an altered file
    8          length of what follows
    ...        AES-256-GCM of the content, its 16-byte tag last; all of the above is authenticated

The key is scrypt's first 32 bytes of output, the check the next 16.  scrypt ends in PBKDF2, whose
32-byte blocks do not depend on each other, so publishing the check tells nothing about the key.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import TYPE_CHECKING

from frcnn_core.errors import ModelFileError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"FRCNN-ENC"

_VERSION = 1
_HEADER = struct.Struct(">9sBBBB16s12s16sQ")
_LOG2_N, _R, _P = 14, 8, 1
# What a header may ask for: 2**20 * 128 * 8 bytes = 1 GiB and some seconds, so that an altered
# header cannot exhaust the machine.
_MAX_LOG2_N, _MAX_R, _MAX_P = 20, 8, 16


def is_encrypted(data: bytes) -> bool:
    """Whether ``data``, or its first bytes, is such an envelope."""
    return data[: len(MAGIC)] == MAGIC


def encrypt(data: bytes, key: str) -> bytes:
    """An envelope that only ``key`` opens.  Salt and nonce are new each time.

    Args:
        data: at most 2 GiB, the limit of one AES-GCM message.
        key: what the user gives with ``-k``; any non-empty text.

    Raises:
        ModelFileError: the key is empty or the data too large.
    """
    if not key:
        raise ModelFileError("An empty key protects nothing: give one with -k, or none at all.")
    salt, nonce = os.urandom(16), os.urandom(12)
    cipher, check = _derive(key, salt, _LOG2_N, _R, _P)
    length = len(data) + 16
    header = _HEADER.pack(MAGIC, _VERSION, _LOG2_N, _R, _P, salt, nonce, check, length)
    try:
        return header + cipher.encrypt(nonce, data, header)
    except OverflowError:
        raise ModelFileError(
            f"The model takes {len(data) / 2**30:.1f} GiB and at most 2 can be encrypted: "
            "leave out the key."
        ) from None


def decrypt(data: bytes, key: str) -> bytes:
    """What ``encrypt`` was given.

    Raises:
        ModelFileError: the key is missing or wrong, or the data cut short or altered.
    """
    if not is_encrypted(data):
        raise ModelFileError("it is not encrypted by frcnn.")
    if not key:
        raise ModelFileError("it is encrypted: give its key with -k.")
    if len(data) < _HEADER.size:
        raise ModelFileError("it is cut short: copy or download it again.")
    header = data[: _HEADER.size]
    _, version, log2_n, r, p, salt, nonce, check, length = _HEADER.unpack(header)
    if version != _VERSION:
        raise ModelFileError(
            f"its encryption is of version {version} and this frcnn reads {_VERSION}: "
            "install a newer frcnn."
        )
    if not (1 <= log2_n <= _MAX_LOG2_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
        raise ModelFileError("its header was altered: copy or download it again.")
    content = memoryview(data)[_HEADER.size :]
    if len(content) < length:
        raise ModelFileError(
            f"it is cut short, {length - len(content)} bytes are missing: "
            "copy or download it again."
        )
    cipher, expected = _derive(key, salt, log2_n, r, p)
    if not hmac.compare_digest(check, expected):
        raise ModelFileError("the key is wrong: give with -k the key it was written with.")
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, content, header)
    except InvalidTag:
        raise ModelFileError(
            "the key is right but the content was altered: copy or download it again."
        ) from None


def _derive(key: str, salt: bytes, log2_n: int, r: int, p: int) -> tuple[AESGCM, bytes]:
    """The cipher, and the 16-byte check, of a key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    derived = Scrypt(salt=salt, length=48, n=1 << log2_n, r=r, p=p).derive(key.encode())
    return AESGCM(derived[:32]), derived[32:]
