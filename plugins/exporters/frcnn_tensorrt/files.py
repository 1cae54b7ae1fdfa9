"""Writes an engine and what stands beside it."""

from __future__ import annotations

from pathlib import Path

import onnx

from frcnn_core.errors import ModelFileError
from frcnn_core.files import write_whole
from frcnn_onnx import metadata
from frcnn_tensorrt import api, device, engine, sidecar


def write(
    proto: onnx.ModelProto, output: Path, settings: engine.Settings, *, where: str
) -> list[Path]:
    """Build an engine of ``proto``, write it, and beside it what it is of.

    Nothing is written beside an engine of a model that frcnn did not export.

    Returns:
        The files written, ``output`` first.

    Raises:
        FrcnnError: it cannot be built, see ``engine.build``; nothing is written then.
    """
    built = engine.build(proto, settings, where=where)
    write_whole(output, built.data)
    try:
        described = metadata.of_proto(proto, where)
    except ModelFileError:
        return [output]
    gpu = ", ".join(settings.compute_capabilities) or device.compute_capability() or ""
    text = sidecar.text(
        described,
        sidecar.Built(api.title(api.load()), settings.precision, gpu, built.ranges),
    )
    beside = sidecar.beside(output)
    write_whole(beside, text)
    return [output, beside]
