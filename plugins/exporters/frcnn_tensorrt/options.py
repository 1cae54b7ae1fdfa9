"""What can be chosen when a detector becomes a TensorRT engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frcnn_core.int8 import Int8Options
from frcnn_core.options import option
from frcnn_onnx.options import OnnxOptions

GIGABYTE = 1 << 30
LARGEST_IN_GIGABYTES = 1024
"""A workspace below this is in GiB, as TAO's gen_trt_engine takes it."""


def bytes_of(workspace: int) -> int:
    """Bytes of a workspace given in bytes, as TLT does, or in GiB, as TAO does."""
    return workspace * GIGABYTE if workspace < LARGEST_IN_GIGABYTES else workspace


@dataclass(frozen=True)
class TensorrtOptions(Int8Options):
    """The flags of TLT's and TAO's export that are about the engine, and a few more."""

    outputs: Literal["nms", "named"] = option(
        "nms: NMS and NMS_1, which DeepStream's NvDsInferParseCustomNMSTLT reads; named: boxes, "
        "scores, classes and counts",
        "nms",
    )
    image_sizes: bool = option(
        "a second input image_sizes (N, 2), height and width of the part of each image that is "
        "no padding",
        False,
    )
    max_batch_size: int = option("images in the largest batch", 16)
    min_batch_size: int = option("images in the smallest batch", 1)
    opt_batch_size: int = option("images in the batch that is optimised for", 1)
    max_workspace_size: int = option(
        f"bytes that a layer may use for itself; below {LARGEST_IN_GIGABYTES}, in GiB", GIGABYTE
    )
    strict_type_constraints: bool = option(
        "compute float32 as float32, which GPUs else round to TF32", False
    )
    dla_core: int | None = option(
        "deep learning accelerator to run on (Jetson); what it cannot do runs on the GPU", None
    )
    compute_capability: tuple[str, ...] = option(
        "GPUs to build for without having them, e.g. 8.6 or 8.6,8.9; TensorRT for RTX only", ()
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.min_batch_size <= self.opt_batch_size <= self.max_batch_size:
            raise ValueError(
                "min_batch_size: expected 1 <= min_batch_size <= opt_batch_size <= "
                f"max_batch_size, got {self.min_batch_size}, {self.opt_batch_size} and "
                f"{self.max_batch_size}."
            )
        if self.max_workspace_size < 1:
            raise ValueError(
                f"max_workspace_size: expected at least 1, got {self.max_workspace_size}."
            )
        if self.dla_core is not None and self.dla_core < 0:
            raise ValueError(f"dla_core: expected 0 or more, got {self.dla_core}.")

    def onnx(self, output: Path) -> OnnxOptions:
        """How the ONNX model is made that the engine ``output`` is built from.

        Its float16 is made later (float16.py).
        """
        shared = (
            "cal_image_dir cal_data_file cal_json_file batches batch_size force_ptq range_finder "
            "percentile keep_float outputs image_sizes"
        )
        return OnnxOptions(
            data_type="int8" if self.data_type == "int8" else "fp32",
            cal_cache_file=self.cal_cache_file,
            **{name: getattr(self, name) for name in shared.split()},
        )
