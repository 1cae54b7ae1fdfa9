"""Rules of ``model_config``."""

from __future__ import annotations

from frcnn_core.errors import FrcnnError
from frcnn_core.plugin import Backbone, Plugins, arch
from frcnn_core.spec.model_pb2 import GRAY_SCALE, InputImageConfig, ModelConfig
from frcnn_core.spec.rules.findings import Findings

PATH = "model_config"
INPUT = f"{PATH}.input_image_config"
SMALLEST_SIDE = 32  # pixels: two cells of the feature map

_HONOURED = (
    "use_pooling",
    "all_projections",
    "dropout_rate",
    "drop_connect_rate",
    "activation",
)


def check_model(findings: Findings, plugins: Plugins) -> None:
    """The network can be built."""
    model: ModelConfig = findings.spec.message.model_config
    _check_input(findings, model.input_image_config)
    findings.ranges(
        PATH,
        model,
        {
            "roi_mini_batch": "[1, inf)",
            "dropout_rate": "[0, 1)",
            "drop_connect_rate": "[0, 1)",
        },
    )
    findings.ranges(
        f"{PATH}.anchor_box_config",
        model.anchor_box_config,
        {"scale": "(0, inf)", "ratio": "(0, inf)"},
    )
    findings.ranges(
        f"{PATH}.roi_pooling_config", model.roi_pooling_config, {"pool_size": "[1, inf)"}
    )
    if model.rpn_stride != 16:
        findings.error(f"{PATH}.rpn_stride", f"{model.rpn_stride} is not supported. Type 16.")
    if model.activation.activation_type not in ("relu", "swish"):
        findings.error(
            f"{PATH}.activation.activation_type",
            f"no activation is called {model.activation.activation_type!r}. "
            "Type 'relu' or 'swish'.",
        )
    findings.without_effect(
        PATH,
        {
            "rpn_cls_activation_type": "the RPN's scores always come from a sigmoid",
            "rfcn_mode": "there is no R-FCN",
            "tf_proposal_layer": "there is one proposal layer",
            "activation.activation_parameters": "no activation function takes parameters",
        },
    )
    try:
        backbone, _ = arch.resolve(model.arch, plugins.backbones)
    except FrcnnError as error:
        findings.error(arch.FIELD, str(error).removeprefix(f"{arch.FIELD}: "))
    else:
        _check_backbone(findings, model, backbone, plugins)


def _check_input(findings: Findings, image: InputImageConfig) -> None:
    size = image.WhichOneof("image_size_config")
    if size == "size_min":
        findings.range(f"{INPUT}.size_min.min", image.size_min.min, f"[{SMALLEST_SIDE}, inf)")
    elif size is None:
        findings.error(
            INPUT,
            "the size of the input is missing.\n"
            "  Add size_height_width { height: 384 width: 1248 } with a size of your choice, or\n"
            "  size_min { min: 600 } for images that keep their aspect.",
        )
    else:
        for side in ("height", "width"):
            value = getattr(image.size_height_width, side)
            findings.range(f"{INPUT}.size_height_width.{side}", value, f"[{SMALLEST_SIDE}, inf)")
    findings.ranges(
        INPUT,
        image,
        {
            "image_channel_mean": "[0, 255]",
            "image_scaling_factor": "(0, inf)",
            "max_objects_num_per_image": "[1, inf)",
        },
    )
    is_gray = image.image_type == GRAY_SCALE
    findings.keys(
        f"{INPUT}.image_channel_mean", image.image_channel_mean, "l" if is_gray else "rgb"
    )
    orders = ("l",) if is_gray else ("rgb", "bgr")
    if image.image_channel_order not in orders:
        choices = " or ".join(repr(order) for order in orders)
        findings.error(
            f"{INPUT}.image_channel_order",
            f"{image.image_channel_order!r} is no order of "
            f"{'one channel' if is_gray else 'three channels'}. Type {choices}.",
        )


def _check_backbone(
    findings: Findings, model: ModelConfig, backbone: Backbone, plugins: Plugins
) -> None:
    ids = backbone.freeze_ids
    for index, block in enumerate(model.freeze_blocks):
        if block not in ids:
            choices = f"Type numbers from {ids.start} to {ids.stop - 1}." if ids else "It has none."
            findings.error(
                f"{PATH}.freeze_blocks[{index}]",
                f"{block:g} is not a block of {model.arch}. {choices}",
            )
    for field in _HONOURED:
        if findings.spec.wrote(f"{PATH}.{field}") and field not in backbone.honours:
            names = sorted(
                {e.component.name for e in plugins.backbones if field in e.component.honours}
            )
            applies = f" (it applies to {', '.join(names)})" if names else ""
            findings.warning(f"{PATH}.{field}", f"has no effect on {backbone.name}{applies}.")
    findings.options(f"{PATH}.backbone_options", backbone, model.backbone_options)
