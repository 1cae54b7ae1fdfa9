"""Public weights of MobileNet V1."""

from __future__ import annotations

from frcnn_core import ImportPlan, Unit
from frcnn_core.plugin.import_plan import TENSORFLOW
from frcnn_mobilenet_v1.network import BLOCKS


def keras_plan() -> ImportPlan:
    """``keras.applications.MobileNet`` at full width (``alpha=1.0``), which names layers alike."""
    layers = ["conv1"]
    for block in BLOCKS:
        layers += [f"conv_dw_{block}", f"conv_pw_{block}"]
    return ImportPlan(
        units=tuple(Unit(layer, f"{layer}_bn", layer, f"{layer}_bn") for layer in layers),
        images=TENSORFLOW,
        backbone_options={"padding": "tensorflow", "relu6": "true"},
    )
