"""What can be chosen when a detector becomes OpenVINO's representation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from frcnn_core.int8 import Int8Options
from frcnn_core.options import option

if TYPE_CHECKING:
    from frcnn_onnx.options import OnnxOptions


@dataclass(frozen=True)
class OpenVinoOptions(Int8Options):
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
    image_sizes: bool = option(
        "a second input image_sizes (N, 2), height and width of the part of each image that is "
        "no padding",
        False,
    )
    embed_preprocessing: bool = option(
        "take uint8 images (N, H, W, C) as decoded, of any size", False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.of_onnx()

    def of_onnx(self) -> OnnxOptions:
        """For the ONNX graph that is converted.  float16 is made afterwards.

        Raises:
            ValueError: a value makes no sense there.
        """
        from frcnn_onnx.options import OnnxOptions

        shared = {f.name for f in dataclasses.fields(self)}
        values = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(OnnxOptions)
            if f.name in shared
        }
        if self.data_type == "fp16":
            values["data_type"] = "fp32"
        return OnnxOptions(**values)
