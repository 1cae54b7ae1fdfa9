"""What is written beside an exported detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def of(output: Path, options: Any) -> list[Path]:
    """Paths of all files and folders but ``output`` itself.

    Args:
        options: ``OnnxOptions``, or those of another exporter with the same names.
    """
    paths: list[Path] = []
    if options.data_type == "int8":
        from frcnn_onnx import int8

        paths += int8.files(output, options)
    if options.gen_ds_config:
        from frcnn_onnx import deepstream

        paths += deepstream.files(output)
    if options.gen_triton:
        from frcnn_onnx import triton

        paths += triton.files(output)
    return paths
