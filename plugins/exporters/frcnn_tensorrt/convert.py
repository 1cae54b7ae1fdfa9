"""From an exported file, .onnx or .etlt, to an engine: what ``frcnn convert`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_core.files import require_free
from frcnn_tensorrt import api, engine, files, sidecar
from frcnn_tensorrt import check as checking
from frcnn_tensorrt import profile as profiles
from frcnn_tensorrt.options import bytes_of

Precision = Literal["fp32", "fp16", "int8"]

DEFAULT_BATCH = 16


@dataclass(frozen=True)
class Conversion:
    """What the converter is told, by its flags.  The documentation's defaults."""

    key: str = ""
    engine: Path = Path("saved.engine")
    dims: tuple[int, ...] = ()
    """C, H and W; empty leaves them to the model."""
    outputs: tuple[str, ...] = ()
    """Names; empty leaves them to the model."""
    precision: Precision = "fp32"
    cache: Path | None = None
    calibration_batch: int = 8
    max_batch_size: int | None = None
    """None for 16 where the model takes any number."""
    workspace: int = 1 << 30
    order: Literal["nchw", "nhwc", "nc"] = "nchw"
    profiles: tuple[str, ...] = ()
    strict: bool = False
    dla_core: int | None = None
    compute_capabilities: tuple[str, ...] = ()


def convert(model: Path, conversion: Conversion) -> list[Path]:
    """Write an engine of an exported model; the files written, the engine first.

    Raises:
        FrcnnError: TensorRT is not installed, the flags do not fit the model, a file to write
            exists, or the engine cannot be built; nothing is written.
    """
    api.load()
    proto = read(model, conversion.key)
    require_match(proto, conversion, model)
    require_free((conversion.engine, sidecar.beside(conversion.engine)))
    most = conversion.max_batch_size or _fixed_batch(proto) or DEFAULT_BATCH
    settings = engine.Settings(
        precision=conversion.precision,
        most=most,
        ranges=_ranges(conversion.profiles),
        workspace=bytes_of(conversion.workspace),
        strict=conversion.strict,
        dla_core=conversion.dla_core,
        compute_capabilities=conversion.compute_capabilities,
        cache=conversion.cache if conversion.precision == "int8" else None,
        calibration_batch=conversion.calibration_batch,
    )
    return files.write(proto, conversion.engine, settings, where=str(model))


def check(model: Path, conversion: Conversion) -> checking.Report:
    """Whether the model can be parsed and the flags fit it; nothing is built.

    Raises:
        FrcnnError: the model cannot be read, or flags do not fit it.
    """
    proto = read(model, conversion.key)
    require_match(proto, conversion, model)
    return checking.check(proto, str(model))


def read(path: Path, key: str) -> onnx.ModelProto:
    """The model in an ``.onnx`` or ``.etlt``.

    Raises:
        ModelFileError: it cannot be read, or the key is wrong.
    """
    from frcnn_core.model_files import Format, recognise

    kind = recognise(path)
    try:
        if kind is Format.ONNX:
            return onnx.load(str(path))
        if path.suffix.lower() == ".etlt":
            from frcnn_etlt import container

            return onnx.load_from_string(container.read(path, key))
    except ModelFileError:
        raise
    except Exception as error:  # protobuf and onnx raise kinds of their own
        raise ModelFileError(f"{path} is damaged: {error}") from error
    raise ModelFileError(
        f"{path} is {kind.value}. An engine is built from .onnx or .etlt: "
        "frcnn export onnx -m MODEL, then convert that."
    )


def require_match(proto: onnx.ModelProto, conversion: Conversion, model: Path) -> None:
    """Raises FrcnnError: -d, -o, -i or -m do not fit the model; has a line for each."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [tensor for tensor in proto.graph.input if tensor.name not in constants]
    names = [tensor.name for tensor in proto.graph.output]
    problems = []
    shape = _shape(inputs[0]) if inputs else ()
    if conversion.dims and not _fits(conversion.dims, shape[1:]):
        wanted = ",".join(str(size) if size != -1 else "any" for size in shape[1:])
        given = ",".join(map(str, conversion.dims))
        problems.append(f"-d {given}: {model} takes {inputs[0].name} of {wanted}.")
    if unknown := [name for name in conversion.outputs if name not in names]:
        problems.append(f"-o {','.join(unknown)}: {model} has the outputs {', '.join(names)}.")
    if conversion.order != "nchw":
        problems.append(
            f"-i {conversion.order}: images go into ONNX models of frcnn as nchw; leave -i out."
        )
    fixed = _fixed_batch(proto)
    if fixed and conversion.max_batch_size not in (None, fixed):
        problems.append(
            f"-m {conversion.max_batch_size}: {model} was exported for batches of {fixed}; leave "
            "-m out, or export it without --static_batch_size."
        )
    if problems:
        raise FrcnnError("\n  ".join(problems))


def _fits(dims: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(dims) == len(shape) and all(
        size in (-1, one) for size, one in zip(shape, dims, strict=True)
    )


def _fixed_batch(proto: onnx.ModelProto) -> int | None:
    shape = _shape(proto.graph.input[0])
    return shape[0] if shape and shape[0] > 0 else None


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """-1 for what varies."""
    return tuple(
        size.dim_value if size.HasField("dim_value") else -1
        for size in value.type.tensor_type.shape.dim
    )


def _ranges(texts: tuple[str, ...]) -> dict[str, profiles.Range]:
    try:
        return dict(profiles.parse(text) for text in texts)
    except ValueError as error:
        raise FrcnnError(f"-p: {error}") from error
