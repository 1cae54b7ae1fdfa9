"""What can be chosen when a detector becomes OpenVINO's representation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from frcnn_core.plugin import option
from frcnn_onnx.options import GraphOptions


@dataclass(frozen=True)
class OpenVinoOptions(GraphOptions):
    """The flags of ``frcnn export openvino``: those of ``onnx`` that mean something here."""

    cal_cache_file: Path | None = field(
        default=None, metadata={"help": "TensorRT calibration cache to write"}
    )
    outputs: Literal["nms", "named"] = option(
        "named: boxes, scores, classes and counts; nms: NMS and NMS_1, rows like those of "
        "OpenVINO's DetectionOutput",
        "named",
    )
    static_batch_size: int = option("images in each batch; -1 for any number", -1)
    embed_preprocessing: bool = option(
        "take uint8 images (N, H, W, C) as decoded, of any size", False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.of_onnx()  # its values have to make sense there
