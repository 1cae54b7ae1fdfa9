"""Public weights of MobileNet V2."""

from __future__ import annotations

from collections.abc import Iterator

from frcnn_core import ImportPlan, Unit
from frcnn_core.plugin.import_plan import TENSORFLOW, TORCHVISION
from frcnn_mobilenet_v2.network import BLOCKS, prefix


def keras_plan() -> ImportPlan:
    """``keras.applications.MobileNetV2`` at full width (``alpha=1.0``)."""
    return ImportPlan(
        units=(
            Unit("conv1", "bn_conv1", "Conv1", "bn_Conv1"),
            *(
                Unit(layer, f"{layer}_bn", layer, f"{layer}_BN")
                for index in range(len(BLOCKS))
                for layer in _convolutions(index)
            ),
            Unit("conv_1", "conv_1_bn", "Conv_1", "Conv_1_bn"),
        ),
        images=TENSORFLOW,
        model_config={"all_projections": False},
        backbone_options={"padding": "tensorflow", "relu6": "true"},
    )


def torchvision_plan() -> ImportPlan:
    """``torchvision.models.mobilenet_v2``."""
    top = len(BLOCKS) + 1
    return ImportPlan(
        units=(
            Unit("conv1", "bn_conv1", "features.0.0", "features.0.1"),
            *(unit for index in range(len(BLOCKS)) for unit in _units_of_torchvision(index)),
            Unit("conv_1", "conv_1_bn", f"features.{top}.0", f"features.{top}.1"),
        ),
        images=TORCHVISION,
        epsilon=1e-5,
        model_config={"all_projections": False},
        backbone_options={"padding": "symmetric", "relu6": "true"},
    )


def _units_of_torchvision(index: int) -> Iterator[Unit]:
    """A bottleneck's list ``conv``: the projection and its normalization are members of their own,
    every convolution before is one with its normalization and activation."""
    conv, layers = f"features.{index + 1}.conv", _convolutions(index)
    last = len(layers) - 1
    for i, layer in enumerate(layers[:last]):
        yield Unit(layer, f"{layer}_bn", f"{conv}.{i}.0", f"{conv}.{i}.1")
    yield Unit(layers[last], f"{layers[last]}_bn", f"{conv}.{last}", f"{conv}.{last + 1}")


def _convolutions(index: int) -> list[str]:
    """A bottleneck's convolutions that public weights have too."""
    expansion, _, _ = BLOCKS[index]
    parts = ("depthwise", "project") if expansion == 1 else ("expand", "depthwise", "project")
    return [prefix(index) + part for part in parts]
