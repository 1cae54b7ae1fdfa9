"""A trained model as another spec wants it: the spec's drawing, the file's channels and weights.

The spec's network is drawn as a new model's is, each layer gets as many channels as the file's
layer of that name has, and then its weights.  So whatever a drawing decides is the new spec's and
not the file's: regularizers, frozen blocks and statistics, dropout, the size of pooled RoIs.

The original changes the loaded graph in place, by which NO_REG, ``freeze_blocks``, the head's
regularizers and its strides stay those of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from frcnn_core.assemble.models import backbone, new_model
from frcnn_core.detector import BackboneConfig, FasterRCNN
from frcnn_core.errors import SpecError
from frcnn_core.model_files import PARTS, Model, named_variables, with_precision
from frcnn_core.plugin import Backbone, Plugins, arch
from frcnn_core.spec.load import Spec, loads

_NUMBERS_OF_CHANNELS = ("filters", "units")
"""What the configs of layers that make channels call their number."""
_RANDOM_STATE = "seed_generator_state"
"""How the name begins that Keras gives the variable of a layer that draws random numbers."""
_MAX_NAMED = 5


def retrained(spec: Spec, plugins: Plugins, model: Model, path: Path, policy: str) -> Model:
    """The model of a file, pruned or not, drawn as the spec says.

    Args:
        model: as the file has it; stays as it is.
        path: the file, for messages.
        policy: Keras dtype policy to run the layers in.

    Raises:
        SpecError: the spec is of another network, or its size of pooled RoIs does not fit.
    """
    trained = _trained_config(model, plugins)
    _refuse_other_network(spec, plugins, model, trained, path)
    drawn = new_model(spec, plugins).detector
    configs = {name: json.loads(drawn.parts[name].to_json()) for name in PARTS}
    side = drawn.head.inputs[0].shape[1]
    del drawn  # its weights are as large as the model's
    for name, config in configs.items():
        _take_channels(config, json.loads(model.detector.parts[name].to_json()))
    custom_layers = dict(backbone(spec, plugins)[0].custom_layers())
    try:
        parts = {
            name: keras.models.model_from_json(
                with_precision(json.dumps(config), policy), custom_objects=custom_layers
            )
            for name, config in configs.items()
        }
    except ValueError as error:  # e.g. a Reshape to a number of cells that there no longer is
        if side == _side(model):
            raise
        raise SpecError(_other_side(model, trained, path, str(error))) from error
    _take_weights(parts, model, trained, path)
    return replace(
        model,
        detector=FasterRCNN(
            **parts,
            anchors=model.detector.anchors,
            regression_scale=model.detector.regression_scale,
            dynamic_shape=model.detector.dynamic_shape,
        ),
        arch=spec.message.model_config.arch,
        spec=spec.text,
        progress={},
    )


def _trained_config(model: Model, plugins: Plugins) -> BackboneConfig | None:
    """What the model's own spec says about its network; None where it has none that tells."""
    try:
        spec = loads(model.spec)
        if spec.message.model_config.arch == model.arch:
            return backbone(spec, plugins)[1]
    except SpecError:  # of another version of frcnn or of the plugin
        pass
    return None


def _refuse_other_network(
    spec: Spec, plugins: Plugins, model: Model, trained: BackboneConfig | None, path: Path
) -> None:
    """Some fields change what is computed without changing any weight's shape."""
    if (given := spec.message.model_config.arch) != model.arch:
        raise SpecError(
            f'{arch.FIELD}: the spec has "{given}", {path} is a "{model.arch}".\n'
            f'  Type arch: "{model.arch}".'
        )
    if trained is None:
        return
    component, config = backbone(spec, plugins)
    ours, theirs = _network(component, config), _network(component, trained)
    problems = [
        f"model_config: the spec has {typed}, {path} was trained with {theirs[field]} and is no "
        f"other network.\n  Type {theirs[field]}."
        for field, typed in ours.items()
        if typed != theirs[field]
    ]
    if problems:
        raise SpecError("\n".join(problems))


def _network(component: Backbone, config: BackboneConfig) -> dict[str, str]:
    """What says which network it is, as it is typed, by field."""
    typed = {"use_bias": f"use_bias: {config.use_bias}"}
    for field in sorted({"use_pooling", "all_projections"} & component.honours):
        typed[field] = f"{field}: {getattr(config, field)}"
    if "activation" in component.honours:
        typed["activation"] = f'activation {{ activation_type: "{config.activation}" }}'
    for name, value in vars(config.options).items():
        value = str(value).lower() if isinstance(value, bool) else value
        typed[f"option {name}"] = f'backbone_options {{ key: "{name}" value: "{value}" }}'
    return typed


def _take_channels(drawn: dict[str, Any], trained: dict[str, Any]) -> None:
    """Give the layers of a functional model's config the numbers of channels of another's."""
    layers = {_name(entry): entry["config"] for entry in _layers(trained)}
    inputs = iter(_inputs(trained))
    for entry in _layers(drawn):
        config, theirs = entry["config"], layers.get(_name(entry), {})
        # The shapes that Keras would build it with are those of before.
        entry.pop("build_config", None)
        if entry["class_name"] == "InputLayer":  # in order: Keras numbers those of inner models
            if (given := next(inputs, None)) is not None:
                config["batch_shape"][-1] = given["batch_shape"][-1]
        elif "layers" in config and "layers" in theirs:
            _take_channels(entry, {"config": theirs})
        elif "target_shape" in config and "target_shape" in theirs:  # Reshape
            config["target_shape"] = [*config["target_shape"][:-1], theirs["target_shape"][-1]]
        for number in _NUMBERS_OF_CHANNELS:
            if number in config and number in theirs:
                config[number] = theirs[number]


def _layers(model: dict[str, Any]) -> list[dict[str, Any]]:
    return model["config"]["layers"]


def _name(entry: dict[str, Any]) -> str:
    return entry["config"]["name"]


def _inputs(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (one["config"] for one in _layers(model) if one["class_name"] == "InputLayer")


def _take_weights(
    parts: dict[str, keras.Model], model: Model, trained: BackboneConfig | None, path: Path
) -> None:
    """Give every variable that of the same name in a model.

    Raises:
        SpecError: the two do not have the same weights; says which, and what to type.
    """
    source = named_variables(model.detector.parts)
    target = named_variables(parts)
    strangers = [
        f"{name} is in the {where} only"
        for one, other, where in ((target, source, "spec's network"), (source, target, "file"))
        for name in one
        if name not in other and not name.rpartition("/")[2].startswith(_RANDOM_STATE)
    ]
    misfits = {
        name: f"{name} would be {tuple(variable.shape)} and is {tuple(source[name].shape)}"
        for name, variable in target.items()
        if name in source and tuple(source[name].shape) != tuple(variable.shape)
    }
    if (
        misfits
        and not strangers
        and all(name.startswith("head/") for name in misfits)
        and parts["head"].inputs[0].shape[1] != _side(model)
    ):
        layer = next(iter(misfits)).split("/")[1]
        reason = f"the weights of its layer {layer} are for one size only"
        raise SpecError(_other_side(model, trained, path, reason))
    if problems := [*strangers, *misfits.values()]:
        more = len(problems) - _MAX_NAMED
        shown = "\n  ".join(problems[:_MAX_NAMED]) + (f"\n  and {more} more" if more > 0 else "")
        raise SpecError(
            f"model_config: the network of the spec is not the one in {path}.\n  {shown}\n"
            "  Type the model_config that it was trained with: frcnn model show MODEL --spec"
        )
    for name, variable in target.items():
        if name in source:
            variable.assign(source[name].numpy())


def _side(model: Model) -> int:
    """S of the model's head."""
    return model.detector.head.inputs[0].shape[1]


def _other_side(model: Model, trained: BackboneConfig | None, path: Path, reason: str) -> str:
    """What to say where a head takes RoIs of the size it was trained with and no other."""
    side = _side(model)
    size = f"pool_size: {side} pool_size_2x: False"
    if trained is not None and trained.roi_side == side:
        size = f"pool_size: {trained.pool_size} pool_size_2x: {trained.pool_size_2x}"
    return (
        f"model_config.roi_pooling_config: {path} pools RoIs to {side} x {side} cells, and "
        f"{reason}.\n  Type {size}."
    )
