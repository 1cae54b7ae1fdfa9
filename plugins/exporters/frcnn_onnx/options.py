"""What can be chosen when a detector becomes ONNX."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Literal

from frcnn_core.plugin import Int8Options, option

OLDEST_OPSET, NEWEST_OPSET = 17, 18
"""What the graph needs, and what tf2onnx knows."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphOptions(Int8Options):
    """The flags of every exporter that makes something of the ONNX graph."""

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

    def of_onnx(self) -> OnnxOptions:
        """How the graph is made.  Its float16 is made afterwards.

        Raises:
            ValueError: a value makes no sense there.
        """
        known = {f.name for f in dataclasses.fields(OnnxOptions)}
        values = {name: value for name, value in vars(self).items() if name in known}
        if self.data_type == "fp16":
            values["data_type"] = "fp32"
        return OnnxOptions(**values)


@dataclass(frozen=True)
class OnnxOptions(GraphOptions):
    """The flags of ``frcnn export onnx``."""

    target_opset: int = option(
        f"opset of ONNX, {OLDEST_OPSET} or {NEWEST_OPSET}; older ones become {OLDEST_OPSET}",
        OLDEST_OPSET,
    )
    static_batch_size: int = option("images in each batch; -1 for any number", -1)
    embed_preprocessing: bool = option(
        "take uint8 images (N, H, W, C) as decoded, of any size", False
    )
    gen_ds_config: bool = option("write DeepStream's configuration beside the output", False)
    gen_triton: bool = option("write a model repository for Triton beside the output", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.static_batch_size < 1 and self.static_batch_size != -1:
            raise ValueError(
                f"static_batch_size: expected 1 or more, or -1 for any, got "
                f"{self.static_batch_size}."
            )
        if self.gen_ds_config:
            self._require_what_deepstream_can_feed()
        if self.target_opset > NEWEST_OPSET:
            raise ValueError(
                f"target_opset: expected at most {NEWEST_OPSET}, got {self.target_opset}."
            )
        if self.target_opset < OLDEST_OPSET:
            logger.warning(
                "Opset %d has no RoiAlign with half-pixel coordinates: %d is written.",
                self.target_opset,
                OLDEST_OPSET,
            )

    def _require_what_deepstream_can_feed(self) -> None:
        """nvinfer has one input, of normalized pixels, and its parser reads NMS and NMS_1."""
        for name, is_in_the_way in (
            (f"outputs {self.outputs}", self.outputs != "nms"),
            ("image_sizes", self.image_sizes),
            ("embed_preprocessing", self.embed_preprocessing),
        ):
            if is_in_the_way:
                raise ValueError(
                    f"gen_ds_config: DeepStream cannot run a graph with --{name}. Leave out one of "
                    "the two."
                )

    @property
    def opset(self) -> int:
        """The opset that is written."""
        return max(self.target_opset, OLDEST_OPSET)
