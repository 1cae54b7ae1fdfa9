"""The onnx exporter in int8: QuantizeLinear and DequantizeLinear where int8 arithmetic has tensors.

Quantization after training is the graph of quantization-aware training with measured ranges
(``frcnn_core.quantization``).  So both go one way: the network is drawn with fake quantization,
converted with a marker in each place of it, and the markers get their ranges, from training or from
``calibration``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_onnx.int8.costs import layer_costs
from frcnn_onnx.int8.range_files import files, write_ranges

if TYPE_CHECKING:
    import onnx

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages
    from frcnn_onnx.options import OnnxOptions

__all__ = ["build_int8", "files", "layer_costs", "write_ranges"]


def build_int8(
    model: Model,
    settings: DetectionSettings,
    options: OnnxOptions,
    images: CalibrationImages | None = None,
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """See ``frcnn_onnx.int8.building.build_int8``; TensorFlow is imported only here."""
    from frcnn_onnx.int8 import building

    return building.build_int8(model, settings, options, images)
