"""What can be chosen when a detector becomes an .etlt."""

from __future__ import annotations

from dataclasses import dataclass, field

from frcnn_onnx.options import OnnxOptions


@dataclass(frozen=True, kw_only=True)
class EtltOptions(OnnxOptions):
    """The flags of ``onnx``, and the key."""

    key: str = field(metadata={"help": "key that opens the file, given with -k"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.key:
            raise ValueError("key: give one with -k; it is needed again to use the file.")
        if self.gen_triton:
            raise ValueError(
                "gen_triton: Triton cannot decrypt an .etlt, and its model repository would hold "
                "the model unprotected. Export onnx with --gen_triton if that is all right."
            )
