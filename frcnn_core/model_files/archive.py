"""The one format of frcnn's model files: a zip of plain JSON, text and numpy arrays.

::

    manifest.json                     what the model is; see ``frcnn_core.model_files.model``
    spec.txt                          the experiment spec, as the user wrote it
    parts/features.json               each part's Keras config
    weights/features/conv1/kernel.npy
    optimizer/adam/iterations.npy     only in checkpoints

Entries are stored uncompressed (weights do not compress) with fixed dates, so equal models are
equal bytes.  With a key the zip is wrapped by ``encryption.py``.  Nothing in it is code:
arrays are read without pickle.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.files import write_whole
from frcnn_core.model_files import encryption
from frcnn_core.model_files.formats import Format, recognise

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say


@dataclass(frozen=True)
class Archive:
    """What a model file holds."""

    manifest: dict[str, Any]
    """Anything JSON can say; ``format`` and ``format_version`` are this module's."""
    spec: str
    """Text of the experiment spec."""
    parts: dict[str, str]
    """Keras JSON config by part, e.g. ``features``."""
    weights: dict[str, np.ndarray]
    """Arrays by ``part/layer/variable``, e.g. ``features/conv1/kernel``."""
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)
    """The optimizer's variables by name; empty in a model that is not to be resumed."""


def write(path: Path, archive: Archive, key: str = "") -> None:
    """Write ``archive`` to ``path``, encrypted when ``key`` is not empty."""
    data = _pack(archive)
    write_whole(path, encryption.encrypt(data, key) if key else data)


def read(path: Path, key: str = "") -> Archive:
    """Read what ``write`` wrote; ``key`` is not needed, and ignored, for an unencrypted file.

    Raises:
        ModelFileError: there is no such file, it is of another kind, its key is missing or wrong,
            it is cut short or altered, or a newer frcnn wrote it.
    """
    path = Path(path)
    found = recognise(path)
    if found not in (Format.ARCHIVE, Format.ENCRYPTED):
        raise ModelFileError(f"{path} is {found.value}, not a model file of frcnn. {found.advice}")
    try:
        data = path.read_bytes()
        if found is Format.ENCRYPTED:
            data = encryption.decrypt(data, key)
        elif key:
            logger.debug("%s is not encrypted; the key was not needed.", path)
        return _unpack(data)
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def _pack(archive: Archive) -> bytes:
    manifest = {"format": "frcnn", "format_version": FORMAT_VERSION} | archive.manifest
    entries = {
        "manifest.json": json.dumps(manifest, indent=2, sort_keys=True).encode(),
        "spec.txt": archive.spec.encode(),
    }
    entries |= {f"parts/{name}.json": text.encode() for name, text in archive.parts.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in entries.items():
            file.writestr(_entry(name), data)
        for folder, arrays in (("weights", archive.weights), ("optimizer", archive.optimizer)):
            for name in sorted(arrays):
                file.writestr(_entry(f"{folder}/{name}.npy"), _npy(arrays[name]))
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIRST_DATE)
    entry.create_system = 3  # Unix, whatever this machine is: equal models are equal bytes
    entry.external_attr = 0o644 << 16
    return entry


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def _unpack(data: bytes) -> Archive:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            manifest = json.loads(file.read("manifest.json"))
            _check_version(manifest)
            return Archive(
                manifest=manifest,
                spec=file.read("spec.txt").decode(),
                parts={name: file.read(e).decode() for name, e in _in(file, "parts", ".json")},
                weights=_arrays(file, "weights"),
                optimizer=_arrays(file, "optimizer"),
            )
    except KeyError as error:
        raise ModelFileError(f"it lacks {error.args[0]}.") from error
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise ModelFileError(
            f"it is cut short or was altered ({error}): copy or download it again."
        ) from error


def _check_version(manifest: dict[str, Any]) -> None:
    """Take the two entries that belong to this module out of ``manifest``."""
    if manifest.pop("format", None) != "frcnn":
        raise ModelFileError("its manifest is not one of frcnn's.")
    version = manifest.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"it is of format version {version} and this frcnn reads {FORMAT_VERSION}: "
            "install a newer frcnn."
        )


def _in(file: zipfile.ZipFile, folder: str, suffix: str) -> list[tuple[str, str]]:
    """(name, entry) of the entries in a folder of the zip."""
    prefix = folder + "/"
    return [
        (entry.removeprefix(prefix).removesuffix(suffix), entry)
        for entry in file.namelist()
        if entry.startswith(prefix) and entry.endswith(suffix)
    ]


def _arrays(file: zipfile.ZipFile, folder: str) -> dict[str, np.ndarray]:
    arrays = {}
    for name, entry in _in(file, folder, ".npy"):
        with file.open(entry) as stream:
            arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays
