"""What an engine file cannot say about itself, in a JSON file beside it.

TensorRT and DeepStream read an engine as it is, so nothing of ours fits in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcnn_core.errors import ModelFileError
from frcnn_onnx import metadata

SUFFIX = ".json"


@dataclass(frozen=True)
class Built:
    """What an engine was built with and for."""

    by: str = ""
    """E.g. TensorRT 10.13.0."""
    precision: str = ""
    """fp32, fp16 or int8."""
    gpu: str = ""
    """Compute capability of the GPU, e.g. 8.6."""
    ranges: Mapping[str, Any] | None = None
    """Smallest, optimal and largest shape of inputs, by name."""


def beside(engine: Path) -> Path:
    """The JSON file of an engine: ``model.engine.json``."""
    return engine.with_name(engine.name + SUFFIX)


def text(described: metadata.Metadata, built: Built) -> str:
    """The JSON."""
    fields = described.as_dict() | {
        "engine": {
            "built_by": built.by,
            "precision": built.precision,
            "gpu": built.gpu,
            "shapes": {name: list(map(list, one)) for name, one in (built.ranges or {}).items()},
        }
    }
    return json.dumps(fields, indent=2) + "\n"


def read(engine: Path) -> tuple[metadata.Metadata, Built]:
    """What is known of an engine: from its JSON file, or the ``.onnx`` of the same name.

    Raises:
        ModelFileError: neither is there, or what is there was not written by frcnn.
    """
    path, model = beside(engine), engine.with_suffix(".onnx")
    if path.exists():
        return _of_json(path)
    if model.exists():
        import onnx

        try:
            proto = onnx.load(str(model), load_external_data=False)
        except Exception as error:  # of protobuf, which has several
            raise ModelFileError(f"{model} cannot be read: {error}") from error
        return metadata.of_proto(proto, str(model)), Built()
    raise ModelFileError(
        f"{engine} does not say what its classes are nor what images it takes, and {path.name} is "
        f"not there. Copy {path.name} beside it, or the model it was built from as {model.name}; "
        "`frcnn export tensorrt` and `frcnn convert` write the .json."
    )


def _of_json(path: Path) -> tuple[metadata.Metadata, Built]:
    try:
        fields = json.loads(path.read_text())
        built = fields.get("engine", {})
        return metadata.Metadata.from_dict(fields), Built(
            by=str(built.get("built_by", "")),
            precision=str(built.get("precision", "")),
            gpu=str(built.get("gpu", "")),
            ranges=built.get("shapes"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{path} is not what frcnn writes beside an engine: {error}"
        ) from error
