"""What DeepStream needs to know of an exported detector, as files beside it.

``labels.txt`` and ``nvinfer_config.txt`` are those of TLT's ``--gen_ds_config``.  The latter is a
part of a configuration only, to be copied into another.  ``config_infer_primary.txt`` is a whole
one for the element Gst-nvinfer, as ``deepstream-app`` takes it.

Sources: TLT's documentation, "Integrating a FasterRCNN Model"; DeepStream's, "Gst-nvinfer";
``NvDsInferParseCustomNMSTLT`` in NVIDIA-AI-IOT/deepstream_tao_apps, which reads the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn_core.data import Preprocessing
from frcnn_core.files import require_free, write_whole
from frcnn_core.plugin import Int8Options

if TYPE_CHECKING:
    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model

LABELS, PART, WHOLE = "labels.txt", "nvinfer_config.txt", "config_infer_primary.txt"

_COLOR_FORMATS = {"rgb": 0, "bgr": 1, "l": 2}
_NETWORK_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
_DYNAMIC_BATCH = 1
"""``batch-size`` of a graph that takes any: one stream.  DeepStream wants the number of streams."""


def files(output: Path) -> list[Path]:
    """What ``write`` writes for the model ``output``."""
    return [output.parent / name for name in (LABELS, PART, WHOLE)]


def write(
    model: Model,
    settings: DetectionSettings,
    output: Path,
    options: Int8Options,
    *,
    outputs: Sequence[str] = ("NMS", "NMS_1"),
) -> list[Path]:
    """Write the files beside ``output`` and return their paths.

    Args:
        output: the exported model, .onnx, or .etlt where the options have a ``key``.
        options: of an exporter that has ``static_batch_size`` among them.
        outputs: what the graph calls its rows and their count.

    Raises:
        FrcnnError: one exists.
    """
    labels, part, whole = files(output)
    require_free((labels, part, whole))
    write_whole(labels, "".join(f"{name}\n" for name in labels_of(model)))
    write_whole(part, _part(model, options))
    write_whole(whole, _whole(model, settings, output, options, outputs))
    return [labels, part, whole]


def labels_of(model: Model) -> list[str]:
    """Names by the number in a row of ``NMS``, and ``background`` last."""
    return [*model.class_names, "background"]


def _part(model: Model, options: Int8Options) -> str:
    key = _key(options)
    fields = {
        **_pixels(model.preprocessing),
        **({"tlt-model-key": key} if key else {}),
        "network-type": 0,
        "num-detected-classes": len(labels_of(model)),
        "model-color-format": _COLOR_FORMATS[model.preprocessing.channel_order],
        "maintain-aspect-ratio": 0,
        "output-tensor-meta": 0,
    }
    return _lines(fields)


def _whole(
    model: Model,
    settings: DetectionSettings,
    output: Path,
    options: Any,
    outputs: Sequence[str],
) -> str:
    preprocessing = model.preprocessing
    batch = options.static_batch_size if options.static_batch_size > 0 else _DYNAMIC_BATCH
    return "\n".join(
        [
            f"# Gst-nvinfer runs {output.name} with this, as the primary detector of a pipeline.",
            "# Names of files are relative to this one.",
            "",
            "[property]",
            "gpu-id=0",
            *_source(output, options, batch),
            f"labelfile-path={LABELS}",
            f"batch-size={batch}",
            "# 0: fp32, 1: int8, 2: fp16",
            f"network-mode={_NETWORK_MODES[options.data_type]}",
            "",
            "# What the network sees: (pixel - offset) * net-scale-factor.",
            *_lines(_pixels(preprocessing)).splitlines(),
            "# 0: RGB, 1: BGR, 2: gray",
            f"model-color-format={_COLOR_FORMATS[preprocessing.channel_order]}",
            *_geometry(preprocessing),
            "",
            "# On whole frames, every one of them.",
            "process-mode=1",
            "interval=0",
            "gie-unique-id=1",
            "",
            "# A detector, whose boxes are suppressed in the graph already: 4 is no clustering.",
            "network-type=0",
            "cluster-mode=4",
            f"num-detected-classes={len(labels_of(model))}",
            f"output-blob-names={';'.join(outputs)}",
            "output-tensor-meta=0",
            "parse-bbox-func-name=NvDsInferParseCustomNMSTLT",
            "# DeepStream's own library has this parser.  Where it has not, make post_processor of",
            "# github.com/NVIDIA-AI-IOT/deepstream_tao_apps and put the path of its library here.",
            "custom-lib-path=/opt/nvidia/deepstream/deepstream/lib/libnvds_infercustomparser.so",
            "",
            "[class-attrs-all]",
            "# The parser takes this for every class.  The graph itself leaves out scores up to",
            f"# {settings.object_confidence_thres:g} (object_confidence_thres).",
            "pre-cluster-threshold=0.6",
            *(f"roi-{edge}-offset=0" for edge in ("top", "bottom")),
            *(f"detected-{most}-{side}=0" for most in ("min", "max") for side in "wh"),
            "",
        ]
    )


def _source(output: Path, options: Int8Options, batch: int) -> list[str]:
    """Where the network comes from."""
    if _key(options):
        return [
            f"# DeepStream cannot decrypt {output.name}.  Make this engine of it:",
            f"#   frcnn convert -k KEY -t {options.data_type} -m {batch} -e {output.stem}.engine "
            f"{output.name}",
            f"model-engine-file={output.stem}.engine",
        ]
    lines = [
        f"onnx-file={output.name}",
        "# DeepStream builds this engine the first time, and finds it again under this name.",
        f"model-engine-file={output.name}_b{batch}_gpu0_{options.data_type}.engine",
    ]
    if options.data_type == "int8":
        from frcnn_onnx import int8

        cache = int8.files(output, options)[0]
        inside = cache.parent.resolve() == output.parent.resolve()
        lines += [f"int8-calib-file={cache.name if inside else cache.resolve()}"]
    return lines


def _pixels(preprocessing: Preprocessing) -> dict[str, str]:
    """Normalization and size.  nvinfer multiplies where the spec divides, and wants the means in
    the channels' order, where the model has them as r, g, b."""
    means = preprocessing.means
    if preprocessing.channel_order == "bgr":
        means = means[::-1]
    size = (preprocessing.channels, preprocessing.height, preprocessing.width)
    return {
        "net-scale-factor": repr(1.0 / preprocessing.scale),
        "offsets": ";".join(map(_number, means)),
        "infer-dims": ";".join(map(str, size)),
    }


def _geometry(preprocessing: Preprocessing) -> list[str]:
    """How a frame becomes an image of the network's size."""
    lines = []
    if not preprocessing.resize:
        size = f"{preprocessing.width}x{preprocessing.height}"
        lines = [
            "# The network was trained on images that are cut or padded and never scaled.  nvinfer",
            f"# can only scale: give it frames of {size} pixels (width and height of nvstreammux).",
        ]
    return [
        *lines,
        "# Stretched, with bilinear interpolation, as in training.",
        "maintain-aspect-ratio=0",
        "scaling-filter=1",
    ]


def _key(options: Int8Options) -> str:
    return getattr(options, "key", "")


def _lines(fields: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items())


def _number(value: float) -> str:
    """Without an exponent or digits that float32 does not have: 103.939, 0.0."""
    return repr(round(value, 6))
