"""What can be chosen when a detector becomes a TensorRT engine."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_core.plugin import option
from frcnn_onnx.options import GraphOptions

GIGABYTE = 1 << 30
LARGEST_IN_GIGABYTES = 1024
"""A workspace below this is in GiB, as TAO's gen_trt_engine takes it."""


def bytes_of(workspace: int) -> int:
    """Bytes of a workspace given in bytes, as TLT does, or in GiB, as TAO does."""
    return workspace * GIGABYTE if workspace < LARGEST_IN_GIGABYTES else workspace


@dataclass(frozen=True)
class TensorrtOptions(GraphOptions):
    """The flags of TLT's and TAO's export that are about the engine, and a few more."""

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
