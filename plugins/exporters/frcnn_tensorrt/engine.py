"""Builds TensorRT engines from ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import onnx

from frcnn_core.errors import FrcnnError
from frcnn_tensorrt import api, float16, network
from frcnn_tensorrt import profile as profiles

Precision = Literal["fp32", "fp16", "int8"]

_QUANTIZE = (
    "Export it quantized: frcnn export onnx --data_type int8, or frcnn export tensorrt "
    "--data_type int8."
)


@dataclass(frozen=True)
class Settings:
    """How an engine is built."""

    precision: Precision = "fp32"
    least: int = 1
    """Images in the smallest batch, where the model takes any number."""
    optimal: int = 1
    most: int = 1
    ranges: Mapping[str, profiles.Range] = field(default_factory=dict)
    """Shapes of inputs by name, instead of what ``least``, ``optimal`` and ``most`` say."""
    workspace: int | None = None
    """Bytes that a layer may use for itself; None for TensorRT's default, all there is."""
    strict: bool = False
    """float32 is not computed as TF32; with ``cache``, int8 is not replaced by float16."""
    dla_core: int | None = None
    """The deep learning accelerator to run on, where the device has some."""
    compute_capabilities: tuple[str, ...] = ()
    """GPUs to build for without having them, e.g. 8.6 (TensorRT for RTX)."""
    cache: Path | None = None
    """Calibration cache for int8 of a float model (TensorRT 10)."""
    calibration_batch: int = 8


@dataclass(frozen=True)
class Engine:
    """A serialized engine and what it was built for."""

    data: bytes
    ranges: Mapping[str, profiles.Range]


def build(proto: onnx.ModelProto, settings: Settings, *, where: str) -> Engine:
    """An engine that computes what an ONNX model says, in the precision asked for.

    Args:
        where: what the model is called in error messages.

    Raises:
        ModelFileError: TensorRT cannot parse the model.
        FrcnnError: TensorRT is not installed, cannot do what is asked for, or fails.
    """
    package = api.load()
    targets = _capabilities(package, settings.compute_capabilities)
    if settings.dla_core is not None and settings.precision == "fp32":
        raise FrcnnError("A DLA computes in fp16 and int8 only: choose one of them.")
    proto = _in_precision(package, proto, settings, where)
    # From a cache, TensorRT itself chooses what is int8; its older versions also want to choose
    # what a DLA computes.
    picks = api.picks_precisions(package) and (
        settings.cache is not None or settings.dla_core is not None
    )
    parsed = network.parse(proto.SerializeToString(), picks_precisions=picks, where=where)
    inputs = network.inputs(parsed)
    ranges = _ranges(settings, inputs)
    config = parsed.builder.create_builder_config()
    _add_profile(parsed.builder, config, ranges)
    if settings.workspace is not None:
        config.set_memory_pool_limit(package.MemoryPoolType.WORKSPACE, settings.workspace)
    if settings.strict:
        config.clear_flag(package.BuilderFlag.TF32)
    calibrator = _pick_precisions(package, config, settings) if picks else None
    if settings.dla_core is not None:
        _use_dla(package, config, settings.dla_core, ranges)
    if targets:
        config.num_compute_capabilities = len(targets)
        for index, capability in enumerate(targets):
            config.set_compute_capability(capability, index)
    with api.errors(package) as errors:
        serialized = parsed.builder.build_serialized_network(parsed.definition, config)
    del calibrator  # TensorRT does not keep it alive
    if serialized is None:
        raise FrcnnError(_failed(package, where, errors))
    return Engine(bytes(serialized), ranges)


def _in_precision(
    package: ModuleType, proto: onnx.ModelProto, settings: Settings, where: str
) -> onnx.ModelProto:
    quantized = float16.is_quantized(proto)
    if quantized and settings.precision != "int8":
        raise FrcnnError(
            f"{where} is quantized, so its engine is int8. Choose int8, or export it again in "
            "float for another precision."
        )
    if settings.precision == "int8" and not quantized:
        if settings.cache is None:
            raise FrcnnError(f"{where} is not quantized, and int8 needs that. {_QUANTIZE}")
        if not api.picks_precisions(package):
            raise FrcnnError(
                f"{where} is not quantized, and {api.title(package)} takes no calibration cache: "
                f"that ended with TensorRT 10. {_QUANTIZE}"
            )
    if settings.precision == "fp16" and not float16.has_float16(proto):
        return float16.convert(proto)
    return proto


def _ranges(settings: Settings, inputs: Mapping[str, profiles.Shape]) -> dict[str, profiles.Range]:
    profiles.check(settings.ranges, inputs)
    others = {name: shape for name, shape in inputs.items() if name not in settings.ranges}
    batches = profiles.of_batches(
        others, least=settings.least, optimal=settings.optimal, most=settings.most
    )
    # An input whose shape is fixed has no place in a profile.
    given = {name: one for name, one in settings.ranges.items() if -1 in inputs[name]}
    return batches | given


def _add_profile(builder: Any, config: Any, ranges: Mapping[str, profiles.Range]) -> None:
    if not ranges:
        return
    profile = builder.create_optimization_profile()
    for name, one in ranges.items():
        profile.set_shape(name, one.smallest, one.optimal, one.largest)
    config.add_optimization_profile(profile)


def _pick_precisions(package: ModuleType, config: Any, settings: Settings) -> Any:
    """Let TensorRT 10 choose precisions; the calibrator, which has to live until it has built."""
    flags = package.BuilderFlag
    if settings.precision == "fp16" or not settings.strict:
        config.set_flag(flags.FP16)
    if settings.strict:
        config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    if settings.precision == "int8":
        config.set_flag(flags.INT8)
    if settings.cache is None:
        return None
    from frcnn_tensorrt import calibration

    calibrator = calibration.from_cache(package, settings.cache, settings.calibration_batch)
    config.int8_calibrator = calibrator
    return calibrator


def _use_dla(
    package: ModuleType, config: Any, core: int, ranges: Mapping[str, profiles.Range]
) -> None:
    if any(one.smallest != one.largest for one in ranges.values()):
        raise FrcnnError(
            "A DLA takes one shape only: give the smallest, optimal and largest batch the same "
            "number of images, or export the ONNX with --static_batch_size."
        )
    config.default_device_type = package.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(package.BuilderFlag.GPU_FALLBACK)  # it has no suppression, no sorting


def _capabilities(package: ModuleType, wanted: tuple[str, ...]) -> list[Any]:
    """TensorRT's names for GPUs like 8.6."""
    if not wanted:
        return []
    if not hasattr(package, "ComputeCapability"):
        raise FrcnnError(
            f"compute_capability: {api.title(package)} builds for the GPU it runs on. TensorRT "
            "for RTX builds for others, where TensorRT is not installed beside it."
        )
    known = package.ComputeCapability.__members__
    names = {f"{name[2:-1]}.{name[-1]}": name for name in known if name.startswith("SM")}
    if unknown := [text for text in wanted if text not in names]:
        raise FrcnnError(
            f"compute_capability: {', '.join(unknown)} is none that {api.title(package)} builds "
            f"for; choose from {', '.join(names)}."
        )
    return [known[names[text]] for text in wanted]


def _failed(package: ModuleType, where: str, errors: list[str]) -> str:
    lines = [f"{api.title(package)} cannot build an engine of {where}:"]
    lines += [f"  {error}" for error in errors] or ["  it does not say why; -v shows its log."]
    if network.without_driver(errors):
        lines.append(
            "  This machine has no CUDA driver, or an old one: build on the machine with the GPU."
        )
    return "\n".join(lines)
