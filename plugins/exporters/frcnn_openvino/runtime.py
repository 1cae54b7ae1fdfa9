"""Runs exported detectors in OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from frcnn_core.components import Runtime
from frcnn_core.errors import ModelFileError
from frcnn_core.preprocessing import canvas
from frcnn_core.structures import Detections
from frcnn_onnx import metadata
from frcnn_onnx.build import IMAGES, SIZES
from frcnn_onnx.outputs import cut, detections, in_batches_of
from frcnn_openvino import pixels

_SECTION = "framework"
"""Of rt_info; where OpenVINO puts the metadata of the ONNX model that it read."""


def load(path: Path) -> Runtime:
    """A runtime on the CPU for a representation that frcnn exported.

    Raises:
        ModelFileError: OpenVINO cannot run it, or another program made it.
    """
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise ModelFileError(f"{weights} is missing. {path.name} needs it beside itself.")
    try:
        core = openvino.Core()
        graph = core.read_model(str(path))
        described = metadata.read(_properties(graph), str(path))
        if described.embedded_preprocessing:
            graph = pixels.detach(graph, described.preprocessing)
        # OpenVINO computes float32 in bfloat16 where a processor has that, unless told not to.
        compiled = core.compile_model(
            graph, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        )
    except RuntimeError as error:  # what OpenVINO raises
        raise ModelFileError(f"{path} cannot be run by OpenVINO: {error}") from error
    # A tensor may have a second name, of the node that makes it.
    outputs = {name: port for port in compiled.outputs for name in port.names}
    inputs = {name: port.partial_shape for port in compiled.inputs for name in port.names}
    batch = inputs[IMAGES][0]
    fixed = batch.get_length() if batch.is_static else None
    is_dynamic = described.preprocessing.is_dynamic
    if is_dynamic:
        fixed = 1  # an image must not see the padding that a batch adds to it

    def run(images: np.ndarray, sizes: np.ndarray) -> Detections:
        if is_dynamic:
            height, width = canvas(sizes[0])
            images = np.ascontiguousarray(images[:, :, :height, :width])
        feeds = {IMAGES: images} | ({SIZES: sizes} if SIZES in inputs else {})
        answer = compiled(feeds)
        named = {name: answer[port] for name, port in outputs.items()}
        return cut(detections(named, size=images.shape[2:]), sizes)

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


def _properties(graph: openvino.Model) -> dict[str, str]:
    if not graph.has_rt_info([_SECTION]):
        return {}
    return {key: str(value) for key, value in graph.get_rt_info([_SECTION]).value.items()}
