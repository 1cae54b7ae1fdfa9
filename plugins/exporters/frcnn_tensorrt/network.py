"""An ONNX model as a network of TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frcnn_core.errors import ModelFileError
from frcnn_tensorrt import api

NEEDS_DRIVER = "RoiAlign"
"""The one operator of ours that cannot be parsed without a CUDA driver: it becomes a plugin that
asks the GPU for its properties."""

NO_DRIVER = "CUDA driver version is insufficient"
"""What CUDA says where there is no driver, or one that is too old."""


@dataclass(frozen=True)
class Refusal:
    """A node that the parser cannot take."""

    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node or 'a node without a name'} ({self.operator}): {self.reason}"


class ParseError(ModelFileError):
    """A model that the parser refuses."""

    def __init__(self, message: str, refusals: list[Refusal], *, without_driver: bool):
        super().__init__(message)
        self.refusals = refusals
        self.without_driver = without_driver
        """Whether TensorRT found no CUDA driver meanwhile."""


@dataclass(frozen=True)
class Network:
    """A parsed model, with what it needs to stay alive."""

    builder: Any
    definition: Any
    parser: Any


def parse(model: bytes, *, picks_precisions: bool = False, where: str) -> Network:
    """The network of an ONNX model.

    Args:
        model: a serialized ``onnx.ModelProto``.
        picks_precisions: TensorRT may compute in other types than the graph says (TensorRT 10).
        where: the file or exporter it comes from, for error messages.

    Raises:
        ParseError: TensorRT cannot parse it; names the nodes and says why.
        FrcnnError: TensorRT is not installed.
    """
    package = api.load()
    log = api.logger(package)
    with api.errors(package) as errors:
        builder = _builder(package, errors)
        flags = 0
        if not picks_precisions:
            # TensorRT 11 accepts and ignores it: nothing else is left there.
            flags |= 1 << int(package.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = builder.create_network(flags)
        parser = package.OnnxParser(definition, log)
        parsed = parser.parse(model)
    if not parsed:
        found = refusals(parser)
        raise ParseError(
            _refused(api.title(package), where, found, errors),
            found,
            without_driver=without_driver(errors),
        )
    return Network(builder, definition, parser)


def inputs(network: Network) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's inputs by name, -1 for what varies."""
    definition = network.definition
    tensors = [definition.get_input(number) for number in range(definition.num_inputs)]
    return {tensor.name: tuple(tensor.shape) for tensor in tensors}


def refusals(parser: Any) -> list[Refusal]:
    """What a parser said of nodes, each once."""
    found = {}
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        refusal = Refusal(error.node_name(), error.node_operator(), error.desc())
        found[refusal.node, refusal.operator] = refusal
    return list(found.values())


def without_driver(errors: list[str]) -> bool:
    """Whether messages of TensorRT say that there is no CUDA driver."""
    return any(NO_DRIVER in error for error in errors)


def _builder(package: Any, errors: list[str]) -> Any:
    try:
        builder = package.Builder(api.logger(package))
    except Exception as error:  # pybind11 raises TypeError where the library returned nothing
        reason = "; ".join(errors) or str(error)
        raise ModelFileError(f"{api.title(package)} cannot start here: {reason}") from error
    return builder


def _refused(title: str, where: str, found: list[Refusal], errors: list[str]) -> str:
    lines = [f"{title} cannot parse {where}:"]
    lines += [f"  {refusal}" for refusal in found] or [f"  {error}" for error in errors]
    if without_driver(errors) and any(one.operator == NEEDS_DRIVER for one in found):
        lines.append(
            "  This machine has no CUDA driver, or an old one: RoiAlign is parsed only where "
            "there is one. Build on the machine with the GPU, from the .onnx."
        )
    return "\n".join(lines)
