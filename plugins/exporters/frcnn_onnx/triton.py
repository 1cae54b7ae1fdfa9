"""A model repository for NVIDIA's Triton Inference Server, with an exported detector in it.

::

    STEM_triton/                 what --model-repository names
        STEM/
            config.pbtxt
            1/
                model.onnx

Source: Triton's documentation, "Model Repository" and "Model Configuration".
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto

from frcnn_core.files import require_free, whole

MAX_BATCH_SIZE = 16
"""Images that Triton puts together at most; TLT's ``--max_batch_size``."""

_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.UINT8: "TYPE_UINT8",
}


def files(output: Path) -> list[Path]:
    """What ``write`` writes for the model ``output``."""
    return [output.with_name(f"{output.stem}_triton")]


def write(output: Path, proto: onnx.ModelProto) -> list[Path]:
    """Write the folder beside ``output`` and return its path.

    Args:
        output: the exported model, whose name the model gets in Triton.
        proto: what is in it.

    Raises:
        FrcnnError: it exists.
    """
    (repository,) = files(output)
    require_free([repository])
    with whole(repository) as temporary:
        version = temporary / output.stem / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(proto.SerializeToString())
        (version.parent / "config.pbtxt").write_text(configuration(output.stem, proto))
    return [repository]


def configuration(name: str, proto: onnx.ModelProto) -> str:
    """The text of ``config.pbtxt``.

    A graph of any batch size is left to Triton to batch: ``dims`` then do not count the images.
    With a fixed one Triton passes on what it is given, which has to be a whole batch.

    Args:
        name: of the model, which is that of its folder.
    """
    from frcnn_onnx import metadata

    graph = proto.graph
    is_dynamic = graph.input[0].type.tensor_type.shape.dim[0].dim_param != ""
    skip = 1 if is_dynamic else 0
    described = metadata.of_proto(proto, name)
    parts = [
        f"name: {json.dumps(name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE if is_dynamic else 0}",
        *(_tensor("input", tensor, skip) for tensor in graph.input),
        *(_tensor("output", tensor, skip) for tensor in graph.output),
        "# On each GPU, or on the CPU where there is none.",
        "instance_group [ { count: 1 kind: KIND_AUTO } ]",
        *_batching(is_dynamic, described.outputs),
        "# For clients: names by class number, and how images become the input.",
        _parameter("class_names", list(described.class_names)),
        _parameter("preprocessing", described.preprocessing.as_dict()),
        "",
    ]
    return "\n".join(parts)


def _batching(is_dynamic: bool, outputs: str) -> list[str]:
    if not is_dynamic:
        return []
    if outputs == "nms":
        return [
            "# dynamic_batching { } lets Triton join requests.  The first number of a row of NMS",
            "# is then the image's place in the joined batch, not in the request.",
        ]
    return ["dynamic_batching { }"]


def _tensor(kind: str, tensor: onnx.ValueInfoProto, skip: int) -> str:
    """One input or output; sizes that are not fixed are -1."""
    dims = tensor.type.tensor_type.shape.dim[skip:]
    sizes = ", ".join(str(dim.dim_value if dim.HasField("dim_value") else -1) for dim in dims)
    # A tensor of one number for each image has no dims left, and Triton wants one.
    shape = f"dims: [ {sizes} ]" if dims else "dims: [ 1 ] reshape { shape: [ ] }"
    dtype = _TYPES[tensor.type.tensor_type.elem_type]
    return f'{kind} [ {{ name: "{tensor.name}" data_type: {dtype} {shape} }} ]'


def _parameter(key: str, value: object) -> str:
    text = json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)
    return f'parameters {{ key: "{key}" value {{ string_value: {text} }} }}'
