"""What a TensorFlow Lite file says about itself: ``frcnn.json`` and ``labels.txt``, in the file.

They are a zip archive that is appended to the model, which interpreters read from the front and
unzip from the back.  So ``unzip model.tflite`` unpacks them, and so do Android's libraries, which
call them associated files.

Source: https://ai.google.dev/edge/litert/models/metadata
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from frcnn_core.errors import ModelFileError
from frcnn_onnx.metadata import Metadata

DESCRIPTION = "frcnn.json"
LABELS = "labels.txt"
"""A class on each line, the i-th that of class id i."""

_DATE = (1980, 1, 1, 0, 0, 0)  # of files in the archive: equal exports are equal files


def appended(model: bytes, metadata: Metadata) -> bytes:
    """The file's content: the model, and what there is to say about it."""
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in (
            (DESCRIPTION, json.dumps(metadata.as_dict(), indent=2)),
            (LABELS, "\n".join(metadata.class_names)),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DATE), text + "\n")
    return stream.getvalue()


def read(path: Path) -> Metadata:
    """What ``appended`` says.

    Raises:
        ModelFileError: another program made the file, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return Metadata.from_dict(json.loads(archive.read(DESCRIPTION)))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path} has no {DESCRIPTION} in it that this version can read: it was not written by "
            "`frcnn export tflite`, or not copied whole."
        ) from error
