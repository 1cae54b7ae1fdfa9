"""What can be chosen when a detector becomes the original's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from frcnn_core.plugin import Int8Options, option

OLDEST_OPSET, NEWEST_OPSET = 12, 18
"""Where what is not a plugin is the same, and what tf2onnx knows."""


@dataclass(frozen=True)
class TrtOnnxOptions(Int8Options):
    """The flags of ``trt_onnx``, with the documentation's names and defaults.

    The graph is in floating point whatever ``data_type`` is: int8 writes a calibration cache
    beside it, for TensorRT before version 10.
    """

    target_opset: int = option(f"opset of ONNX, {OLDEST_OPSET} to {NEWEST_OPSET}", OLDEST_OPSET)
    static_batch_size: int = option("images in each batch; -1 for any number", -1)
    nms_score_bits: int = option(
        "bits per score in TensorRT's fast suppression, 1 to 10; 0 for the ordinary one", 0
    )
    gen_ds_config: bool = option("write DeepStream's configuration beside the output", False)
    gen_triton: ClassVar[bool] = False
    """Never: Triton runs ONNX in ONNX Runtime, which has no plugins of TensorRT."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, is_right, expected in (
            (
                "target_opset",
                OLDEST_OPSET <= self.target_opset <= NEWEST_OPSET,
                f"{OLDEST_OPSET} to {NEWEST_OPSET}",
            ),
            (
                "static_batch_size",
                self.static_batch_size >= 1 or self.static_batch_size == -1,
                "1 or more, or -1 for any",
            ),
            ("nms_score_bits", 0 <= self.nms_score_bits <= 10, "0 to 10"),
            (
                "keep_float",
                not self.keep_float,
                "nothing, since a calibration cache has no layers",
            ),
        ):
            if not is_right:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)}.")
