"""What can be chosen when a detector becomes a TensorFlow Lite file."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_core.plugin import Int8Options, option


@dataclass(frozen=True)
class TfliteOptions(Int8Options):
    """The flags of ``frcnn export tflite``."""

    image_sizes: bool = option(
        "a second input image_sizes (1, 2), height and width of the part of the image that is no "
        "padding",
        False,
    )
    embed_preprocessing: bool = option(
        "take uint8 pixels of the network's size, and normalize them within the file", False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cal_cache_file is not None:
            raise ValueError(
                "cal_cache_file: a calibration cache is for TensorRT, and nothing reads it beside "
                "a .tflite file. --cal_json_file FILE writes the ranges; `frcnn export onnx` "
                "writes a cache."
            )
