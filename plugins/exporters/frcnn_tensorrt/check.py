"""Whether TensorRT can parse a model, told by whatever parser there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx

from frcnn_core.errors import FrcnnError, ModelFileError
from frcnn_tensorrt import api, network


@dataclass(frozen=True)
class Report:
    """What a parser made of a model."""

    parser: str
    """E.g. TensorRT 10.13.0, or ONNX Runtime 1.20."""
    good: bool
    """Nothing stands against an engine, as far as this parser can tell."""
    lines: tuple[str, ...]
    """What was found."""


def check(proto: onnx.ModelProto, where: str) -> Report:
    """What the best parser that is installed says: TensorRT's, TensorRT for RTX's, or those of
    onnx and ONNX Runtime."""
    if api.installed() is None:
        return _by_onnxruntime(proto, where)
    title = api.title(api.load())
    try:
        parsed = network.parse(proto.SerializeToString(), where=where)
    except network.ParseError as error:
        if error.without_driver and {one.operator for one in error.refusals} == {
            network.NEEDS_DRIVER
        }:
            return _without_driver(proto, where, title)
        return Report(title, False, tuple(str(error).splitlines()))
    return Report(title, True, (_counted(proto), *_tensors(parsed)))


def _without_driver(proto: onnx.ModelProto, where: str, title: str) -> Report:
    operator = network.NEEDS_DRIVER
    count = sum(node.op_type == operator for node in proto.graph.node)
    aside = (
        f"{count} {operator} left aside: TensorRT parses it only where there is a CUDA driver, and "
        "here is none."
    )
    try:
        network.parse(without(proto, operator).SerializeToString(), where=f"{where} without it")
    except ModelFileError as error:
        return Report(title, False, (aside, *str(error).splitlines()))
    return Report(title, True, (_counted(proto), aside, "Everything else parses."))


def without(proto: onnx.ModelProto, operator: str) -> onnx.ModelProto:
    """A copy in which what nodes of ``operator`` make comes from outside, and what they read is
    an output too."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.input)}
    cut = [node for node in proto.graph.node if node.op_type == operator]
    constants = {tensor.name for tensor in proto.graph.initializer}
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    del rest.graph.node[:]
    rest.graph.node.extend(node for node in proto.graph.node if node.op_type != operator)
    outside = {value.name for value in (*proto.graph.input, *proto.graph.output)} | constants
    for node in cut:
        for name in node.output:
            rest.graph.input.append(_value(known, name))
        for name in node.input:
            if name and name not in outside:
                outside.add(name)
                rest.graph.output.append(_value(known, name))
    return rest


def _value(known: dict[str, onnx.ValueInfoProto], name: str) -> onnx.ValueInfoProto:
    if name in known:
        return known[name]
    raise FrcnnError(f"{name}: ONNX cannot tell its type and shape.")


def _by_onnxruntime(proto: onnx.ModelProto, where: str) -> Report:
    import onnxruntime

    title = f"onnx {onnx.__version__} and ONNX Runtime {onnxruntime.__version__}"
    aside = (
        f"TensorRT is not installed, so whether it can parse the model is not known. {api.ADVICE}"
    )
    try:
        onnx.checker.check_model(proto, full_check=True)
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # both raise many kinds
        return Report(title, False, (f"{where}: {error}", aside))
    tensors = [
        f"{kind} {tensor.name}: {'x'.join(map(str, tensor.shape))} {tensor.type}"
        for kind, found in (("input", session.get_inputs()), ("output", session.get_outputs()))
        for tensor in found
    ]
    return Report(title, True, (_counted(proto), *tensors, aside))


def _tensors(parsed: network.Network) -> list[str]:
    definition = parsed.definition
    found = [("input", definition.get_input(i)) for i in range(definition.num_inputs)]
    found += [("output", definition.get_output(i)) for i in range(definition.num_outputs)]
    return [
        f"{kind} {tensor.name}: {'x'.join(map(str, tensor.shape))} {tensor.dtype.name.lower()}"
        for kind, tensor in found
    ]


def _counted(proto: onnx.ModelProto) -> str:
    operators = Counter(node.op_type for node in proto.graph.node)
    return f"{len(proto.graph.node)} nodes of {len(operators)} operators"
