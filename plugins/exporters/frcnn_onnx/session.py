"""Runs exported detectors in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import Runtime
from frcnn_onnx import metadata, pixels
from frcnn_onnx.int8.onnx_runtime import fitted
from frcnn_onnx.joined import IMAGES, SIZES
from frcnn_onnx.runtime import runtime


def load(source: Path | bytes, origin: str = "") -> Runtime:
    """A runtime for an ONNX model that frcnn exported.

    Args:
        source: a file, or its content.  Preprocessing in it is left out: a runtime gets images
            that are preprocessed.
        origin: what messages call it; the file unless given.

    Raises:
        ModelFileError: ONNX Runtime cannot run it, or another program made it.
    """
    origin = origin or str(source)
    session = open_session(source, origin)
    described = metadata.read(session.get_modelmeta().custom_metadata_map, origin)
    if described.embedded_preprocessing:
        return load(pixels.detach(_proto(source)).SerializeToString(), origin)
    if described.precision == "int8":
        session = open_session(fitted(_proto(source)).SerializeToString(), origin)
    names = [output.name for output in session.get_outputs()]
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    batch = inputs[IMAGES][0]  # a number, or the name of a dimension of any size
    size = {"least": batch, "most": batch} if isinstance(batch, int) else {}
    return runtime(
        described,
        lambda given: dict(zip(names, session.run(names, given), strict=True)),
        takes_sizes=SIZES in inputs,
        **size,
    )


def _proto(source: Path | bytes) -> onnx.ModelProto:
    return onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)


def open_session(source: Path | bytes, origin: str) -> onnxruntime.InferenceSession:
    """On a GPU where ONNX Runtime is built for one and finds it, else on the CPU.

    Raises:
        ModelFileError: it is no model that ONNX Runtime can run.
    """
    known = ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=[name for name in known if name in available],
        )
    except Exception as error:  # its exceptions have no base but this
        raise ModelFileError(f"{origin} cannot be run by ONNX Runtime: {error}") from error
