"""Keeps what tf2onnx made of a part of a detector, for tests that convert an equal one."""

from __future__ import annotations

import hashlib
from types import ModuleType
from typing import Any

LARGEST = 1 << 20
"""Bytes of a graph that is kept."""

_kept: dict[str, tuple[bytes, str, tuple[str, ...]]] = {}


def keep(parts: ModuleType) -> None:
    """Let ``frcnn_onnx.parts`` convert a part of equal layers, weights and sizes only once.

    Not with marks, which a conversion changes.
    """
    convert = parts._convert
    if getattr(convert, "keeps", False):
        return

    def kept(name: str, part: Any, size: Any, opset: int, mark: Any) -> Any:
        if mark is not parts._unchanged or part.count_params() * 4 > LARGEST:
            return convert(name, part, size, opset, mark)
        key = _key(name, part, size, opset)
        if key not in _kept:
            made = convert(name, part, size, opset, mark)
            _kept[key] = made.graph.SerializeToString(), made.input, made.outputs
        graph, *rest = _kept[key]
        return parts.Part(parts.onnx.GraphProto.FromString(graph), *rest)

    kept.keeps = True
    parts._convert = kept


def _key(name: str, part: Any, size: Any, opset: int) -> str:
    found = hashlib.sha256(f"{name} {size} {opset} {part.to_json()}".encode())
    for variable in part.variables:
        found.update(variable.numpy().tobytes())
    return found.hexdigest()
