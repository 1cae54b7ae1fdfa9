"""What exporters that can write int8 have in common: their flags, and images to measure ranges on.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from frcnn_core.plugin.options import option

if TYPE_CHECKING:
    from frcnn_core.model_files import Model

RangeFinder = Literal["entropy", "percentile", "minmax"]


@dataclass(frozen=True)
class Int8Options:
    """The flags of an exporter that can write int8, with the documentation's names and defaults."""

    data_type: Literal["fp32", "fp16", "int8"] = option("precision: fp32, fp16 or int8", "fp32")
    cal_image_dir: Path | None = option("folder of images to calibrate int8 with", None)
    cal_data_file: Path | None = option(
        "HDF5 tensorfile of batches to calibrate with; written from --cal_image_dir or the "
        "training images if it does not exist",
        None,
    )
    cal_cache_file: Path | None = option(
        "TensorRT calibration cache to write  [default: cal.bin beside the output]", None
    )
    cal_json_file: Path | None = option("JSON file of ranges to write", None)
    batches: int = option("batches to calibrate with", 10)
    batch_size: int = option("images in a batch of calibration", 8)
    force_ptq: bool = option("measure ranges of a QAT model anew, by calibration", False)
    range_finder: RangeFinder = option(
        "how ranges are chosen from what is measured: entropy, percentile or minmax", "minmax"
    )
    percentile: float = option("of absolute values within the range of percentile", 99.99)
    keep_float: tuple[str, ...] = option(
        "layers that stay in floating point, as part/layer; * and ? are wildcards", ()
    )

    def __post_init__(self) -> None:
        for name in ("batches", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}.")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile: expected 50 to 100, got {self.percentile:g}.")

    def calibrates(self, model: Model) -> bool:
        """Whether ranges have to be measured on images: the model has none, or not to be used."""
        return self.data_type == "int8" and (self.force_ptq or not model.is_quantized)


@dataclass(frozen=True)
class CalibrationImages:
    """What ranges of int8 are measured on.  The same batches in the same order, however often they
    are asked for."""

    batches: Callable[[], Iterator[Any]]
    """Each is images (B, H, W, C) float32, preprocessed; the last one may have fewer."""
    num_batches: int
    source: str
    """Where they come from, for people."""
