"""Runs exported detectors in OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino

from frcnn_core.errors import ModelFileError
from frcnn_core.plugin import Runtime
from frcnn_onnx import metadata
from frcnn_onnx.joined import IMAGES, SIZES
from frcnn_onnx.runtime import runtime
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
    size = {"least": batch.get_length(), "most": batch.get_length()} if batch.is_static else {}

    def answer(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = compiled(given)
        return {name: found[port] for name, port in outputs.items()}

    return runtime(described, answer, takes_sizes=SIZES in inputs, **size)


def _properties(graph: openvino.Model) -> dict[str, str]:
    if not graph.has_rt_info([_SECTION]):
        return {}
    return {key: str(value) for key, value in graph.get_rt_info([_SECTION]).value.items()}
