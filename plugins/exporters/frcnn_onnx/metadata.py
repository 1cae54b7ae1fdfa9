"""What an exported model says about itself, in its ``metadata_props``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import onnx

from frcnn_core.data import Preprocessing
from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import Model

PREFIX = "frcnn."


@dataclass(frozen=True)
class Metadata:
    """Everything that is needed to use an exported detector, and where it came from."""

    class_names: tuple[str, ...]
    """K names; class id i is the i-th."""
    preprocessing: Preprocessing
    """How images become ``input_image``."""
    settings: DetectionSettings
    """Thresholds and numbers of boxes that are fixed in the graph."""
    arch: str
    """E.g. ``resnet:18``."""
    outputs: Literal["nms", "named"]
    """Which outputs the graph has."""
    embedded_preprocessing: bool = False
    """Whether the graph takes images as decoded."""
    precision: str = "fp32"
    """``int8`` if the graph is explicitly quantized."""
    spec_sha256: str = ""
    """Of the text of the spec that the model was trained with."""
    versions: Mapping[str, str] | None = None
    """Of frcnn and of what made the graph."""

    def as_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return {
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing.as_dict(),
            "preprocessing_text": self.preprocessing.describe(),
            "settings": asdict(self.settings),
            "arch": self.arch,
            "outputs": self.outputs,
            "embedded_preprocessing": self.embedded_preprocessing,
            "precision": self.precision,
            "spec_sha256": self.spec_sha256,
            "versions": dict(self.versions or {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Metadata:
        """The inverse of ``as_dict``; fields that a later version added are passed over.

        Raises:
            KeyError, TypeError, ValueError: they are not what ``as_dict`` made.
        """
        return cls(
            class_names=tuple(fields["class_names"]),
            preprocessing=Preprocessing.from_dict(fields["preprocessing"]),
            settings=DetectionSettings(**fields["settings"]),
            arch=fields["arch"],
            outputs=fields["outputs"],
            embedded_preprocessing=fields.get("embedded_preprocessing", False),
            precision=fields.get("precision", "fp32"),
            spec_sha256=fields.get("spec_sha256", ""),
            versions=fields.get("versions"),
        )


def of(model: Model, settings: DetectionSettings, *, outputs: Literal["nms", "named"]) -> Metadata:
    """Of a float graph of ``model``."""
    return Metadata(
        class_names=model.class_names,
        preprocessing=model.preprocessing,
        settings=settings,
        arch=model.arch,
        outputs=outputs,
        spec_sha256=hashlib.sha256(model.spec.encode()).hexdigest(),
        versions={name: version(name) for name in ("frcnn", "tensorflow", "tf2onnx", "onnx")},
    )


def write(proto: onnx.ModelProto, metadata: Metadata) -> None:
    """Replace what ``proto`` says about itself."""
    others = [entry for entry in proto.metadata_props if not entry.key.startswith(PREFIX)]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)
    for key, value in metadata.as_dict().items():
        text = value if isinstance(value, str) else json.dumps(value)
        proto.metadata_props.add(key=PREFIX + key, value=text)


def read(props: Mapping[str, str], origin: str) -> Metadata:
    """What ``write`` wrote.

    Args:
        props: ``metadata_props`` by key.
        origin: the file, for messages.

    Raises:
        ModelFileError: another program made the model.
    """
    fields: dict[str, Any] = {}
    for key, value in props.items():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            is_text = name in ("arch", "outputs", "precision", "spec_sha256", "preprocessing_text")
            fields[name] = value if is_text else json.loads(value)
    try:
        return Metadata.from_dict(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{origin} was not exported by frcnn, or by a version that this one cannot read: "
            f"metadata_props lack {error}."
        ) from error


def of_proto(proto: onnx.ModelProto, origin: str) -> Metadata:
    """As ``read``, of a model in memory."""
    return read({entry.key: entry.value for entry in proto.metadata_props}, origin)
