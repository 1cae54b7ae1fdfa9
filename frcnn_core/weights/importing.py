"""Makes another library's weights of a network ours, so that ours computes what theirs did.

A backbone says what corresponds to what (an ``ImportPlan``).  This package reads the file
(``sources``), puts into our layers what they do otherwise (``folding_in``), and says what a spec
has to set for the result to mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from frcnn_core.detector import BackboneConfig, draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import Layers
from frcnn_core.plugin import Backbone, ImportPlan, Unit, options
from frcnn_core.plugin.import_plan import LIBRARIES
from frcnn_core.weights.folding_in import fold_in, scale_inputs
from frcnn_core.weights.origin import Origin
from frcnn_core.weights.sources import Missing, Source, open_source


@dataclass(frozen=True)
class Imported:
    """Weights for a backbone, and where they are from."""

    layers: Layers
    """Arrays by our layer's name and variable's name."""
    origin: Origin
    num_layers: int
    """How many layers of the backbone have weights."""
    left_out: tuple[str, ...]
    """Layers of the head that stay as they are drawn."""
    unused: str
    """What of the file was not needed, in words; may be empty."""
    advice: str
    """What else to know, in a sentence; may be empty."""


def import_weights(
    path: Path, backbone: Backbone, variant: str, *, with_head: bool = True
) -> Imported:
    """The weights in a file of keras.applications, torchvision or Darknet as those of a backbone.

    Args:
        path: the file; its content says which library wrote it.
        backbone: the network, whose ``import_plan`` is followed.
        variant: of the backbone, or "".
        with_head: False leaves out the layers after RoI pooling.

    Raises:
        ModelFileError: the file cannot be read, is of another network, or that network cannot be
            represented; the message says why.
    """
    source = open_source(path)
    arch = f"{backbone.name}:{variant}" if variant else backbone.name
    try:
        plan = backbone.import_plan(variant, source.library)
    except ModelFileError as error:
        raise ModelFileError(
            f"{path} is {LIBRARIES[source.library]}, and of those none can become {arch}: {error}"
        ) from error
    plan = source.refined(plan)
    config = _config(backbone, variant, plan)
    features, head = draw_backbone(backbone, config)
    targets = {layer.name: layer for part in (features, head) for layer in part.layers}
    in_head = {layer.name for layer in head.layers}

    layers: Layers = {}
    left_out: list[str] = []
    for number, unit in enumerate(plan.units):
        if unit.layer in in_head and not with_head:
            left_out.append(unit.layer)
            continue
        try:
            arrays = _import(unit, source, plan, targets)
        except Missing as error:
            if unit.layer not in in_head:
                raise ModelFileError(f"{path} is no {arch}: {error}.") from error
            left_out.append(unit.layer)
            continue
        if number == 0:
            kernel = arrays[unit.layer]["kernel"]
            arrays[unit.layer]["kernel"] = scale_inputs(kernel, plan.images)
        _check(arrays, targets, path, arch)
        layers |= arrays
    return Imported(
        layers=layers,
        origin=Origin(
            arch=arch,
            source=f"{path.name} ({source.library})",
            channel_order=plan.images.channel_order,
            means=plan.images.means,
            scale=plan.images.scale,
            model_config=dict(plan.model_config),
            backbone_options=dict(plan.backbone_options),
        ),
        num_layers=sum(bool(layer.weights) for layer in targets.values()),
        left_out=tuple(left_out),
        unused=source.unused(),
        advice=plan.advice,
    )


def _config(backbone: Backbone, variant: str, plan: ImportPlan) -> BackboneConfig:
    """What the plan demands of a spec, as a drawing needs it."""
    given: Any = options.parse(backbone.Options, plan.backbone_options, where="backbone_options")
    demanded: dict[str, Any] = {"all_projections": False, **plan.model_config}
    return BackboneConfig(variant=variant, options=given, **demanded)


def _import(
    unit: Unit, source: Source, plan: ImportPlan, targets: dict[str, keras.Layer]
) -> Layers:
    layer, norm = targets[unit.layer], targets[unit.norm] if unit.norm else None
    taken = source.identity(layer) if unit.identity else source.take(unit, layer)
    return fold_in(taken, layer, norm, plan)


def _check(arrays: Layers, targets: dict[str, keras.Layer], path: Path, arch: str) -> None:
    for name, variables in arrays.items():
        for variable in targets[name].weights:
            found, wanted = variables[variable.name].shape, tuple(variable.shape)
            if found != wanted:
                raise ModelFileError(
                    f"{path} is no {arch} as frcnn draws it: {name}'s {variable.name} is {found} "
                    f"in the file and {wanted} here. Was it made with another width or depth?"
                )
