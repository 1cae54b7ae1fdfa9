"""Writes a detector as a TensorFlow Lite file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.files import require_free, write_whole
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
from frcnn_onnx import metadata
from frcnn_onnx.metadata import Metadata
from frcnn_tflite import description
from frcnn_tflite.half import with_half_kernels
from frcnn_tflite.network import Network, Round
from frcnn_tflite.options import TfliteOptions


def write(
    model: Model,
    output: Path,
    settings: DetectionSettings,
    options: TfliteOptions,
    images: CalibrationImages | None,
) -> list[Path]:
    """Convert ``model`` and write it, with ranges in JSON if they are asked for.

    Raises:
        FrcnnError: the model cannot be expressed, or the JSON file exists already.
    """
    ranges_file = options.cal_json_file if options.data_type == "int8" else None
    require_free([ranges_file] if ranges_file else [])
    round: Round
    ranges: Mapping[str, float] = {}
    if options.data_type == "int8":
        from frcnn_tflite import rounding

        parts, chosen = rounding.choose(model, settings, options, images)
        round, ranges = chosen, chosen.ranges
    else:
        parts, round = model.detector.parts, lambda layer, tensor: tensor
    network = Network(model, parts, settings, options, round)
    content = description.appended(
        convert(network, options.data_type), _metadata(model, settings, options)
    )
    write_whole(output, content)
    if not ranges_file:
        return [output]
    write_whole(ranges_file, json.dumps({"tensor_scales": ranges}, indent=2) + "\n")
    return [output, ranges_file]


def convert(network: Network, data_type: str) -> bytes:
    """The model of TensorFlow Lite, of built-in operators alone.

    Args:
        data_type: ``fp32``; ``fp16`` stores kernels in 16 bits; ``int8`` computes by the ranges
            that are in the network.

    Raises:
        FrcnnError: an operator is none of TensorFlow Lite's.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.function], network)
    if data_type == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        content = converter.convert()
    except Exception as error:  # the converter raises whatever it stumbles over
        raise FrcnnError(f"TensorFlow Lite cannot express this network: {error}") from error
    return with_half_kernels(content) if data_type == "fp16" else content


def _metadata(model: Model, settings: DetectionSettings, options: TfliteOptions) -> Metadata:
    return replace(
        metadata.of(model, settings, outputs="named"),
        embedded_preprocessing=options.embed_preprocessing,
        precision=options.data_type,
        versions={name: version(name) for name in ("frcnn", "tensorflow")},
    )
