"""Runs exported detectors in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from frcnn_core.components import Runtime
from frcnn_core.errors import ModelFileError
from frcnn_core.preprocessing import canvas
from frcnn_core.structures import Detections
from frcnn_onnx import metadata, pixels
from frcnn_onnx.build import IMAGES, SIZES
from frcnn_onnx.int8.onnx_runtime import fitted
from frcnn_onnx.outputs import cut, detections, in_batches_of


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
    fixed = inputs[IMAGES][0] if isinstance(inputs[IMAGES][0], int) else None
    if described.preprocessing.is_dynamic:
        fixed = 1  # an image must not see the padding that a batch adds to it

    def run(images: np.ndarray, sizes: np.ndarray) -> Detections:
        if described.preprocessing.is_dynamic:
            height, width = canvas(sizes[0])
            images = np.ascontiguousarray(images[:, :, :height, :width])
        feeds = {IMAGES: images} | ({SIZES: sizes} if SIZES in inputs else {})
        answer = dict(zip(names, session.run(names, feeds), strict=True))
        return cut(detections(answer, size=images.shape[2:]), sizes)

    def detect(images, sizes) -> Detections:
        images = np.ascontiguousarray(np.transpose(np.asarray(images), (0, 3, 1, 2)))
        sizes = np.asarray(sizes, np.float32)
        return in_batches_of(fixed, run, images, sizes) if fixed else run(images, sizes)

    return Runtime(
        detect,
        described.class_names,
        described.preprocessing,
        described.settings,
        described.precision,
        knows_sizes=SIZES in inputs,
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
