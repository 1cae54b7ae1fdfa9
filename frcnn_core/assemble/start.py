"""What training starts from: a checkpoint, a pruned model, pretrained weights, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frcnn_core import weights
from frcnn_core.assemble.data import class_map, preprocessing
from frcnn_core.assemble.models import (
    anchors,
    backbone,
    from_archive,
    new_model,
    open_model,
    refuse_batches,
    regression_scale,
)
from frcnn_core.assemble.retrain import retrained
from frcnn_core.errors import ModelFileError, SpecError
from frcnn_core.model_files import Model, archive
from frcnn_core.plugin import Plugins, options
from frcnn_core.quantization import quantization
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.weights import Origin

logger = logging.getLogger(__name__)


def start(
    spec: Spec, plugins: Plugins, key: str, policy: str
) -> tuple[Model, weights.LoadReport | None, Mapping[str, Any]]:
    """The model to train, what became of pretrained weights, and the optimizer's state.

    A checkpoint to resume wins over a pruned model, and that over pretrained weights.

    Raises:
        FrcnnError: a file cannot be used, or the spec does not go with the model in it.
    """
    model, loaded, state = _start(spec, plugins, key, policy)
    refuse_batches(spec, model)
    if not state:
        model.history = [*model.history, _started(spec, model)]
    return model, loaded, state


def _start(
    spec: Spec, plugins: Plugins, key: str, policy: str
) -> tuple[Model, weights.LoadReport | None, Mapping[str, Any]]:
    config = spec.message.training_config
    if config.resume_from_model:
        model, state = _resumed(spec, plugins, paths.locate(config.resume_from_model), key, policy)
        return model, None, state
    if config.retrain_pruned_model:
        path = paths.locate(config.retrain_pruned_model)
        model = open_model(path, key, plugins)
        _refuse_others(spec, model, path)
        return retrained(spec, plugins, model, path, policy), None, {}
    model = new_model(spec, plugins)
    loaded = None
    if config.pretrained_weights:
        loaded = load_pretrained(spec, plugins, model, key)
    if policy != "float32":
        component, _ = backbone(spec, plugins)
        model = Model.from_archive(
            model.to_archive(), precision=policy, custom_layers=component.custom_layers()
        )
    return model, loaded, {}


def _resumed(
    spec: Spec, plugins: Plugins, path: Path, key: str, policy: str
) -> tuple[Model, Mapping[str, Any]]:
    """The model of a checkpoint, and the optimizer's state."""
    content = archive.read(path, key)
    if not content.optimizer:
        raise ModelFileError(
            f"{path} has no optimizer state, so no training can go on from it. "
            "Set training_config.pretrained_weights to start over from its weights."
        )
    model = from_archive(content, plugins, path, policy)
    _refuse_others(spec, model, path)
    _refuse_other_kernels(spec, model, path)
    return model, content.optimizer


def _started(spec: Spec, model: Model) -> dict[str, Any]:
    """What a model's history says of the start of a training."""
    config = spec.message.training_config
    event = {"event": "started", "arch": model.arch, "parameters": model.num_parameters}
    for field in ("retrain_pruned_model", "pretrained_weights"):
        if file := getattr(config, field):
            # Without its folder: the same training elsewhere makes the same file.
            return {**event, "field": field, "file": Path(file).name}
    return event


def load_pretrained(spec: Spec, plugins: Plugins, model: Model, key: str) -> weights.LoadReport:
    """Give a fresh model the weights of ``training_config.pretrained_weights``.

    Warns where the spec means something else by them than they were trained to mean.
    """
    path = paths.locate(spec.message.training_config.pretrained_weights)
    report = weights.assign(
        model.detector.parts.values(),
        weights.read_weights(path, key),
        pretrained_name=backbone(spec, plugins)[0].pretrained_name,
    )
    origin = weights.read_origin(path, key)
    if origin and (lines := _other_in_spec(spec, plugins, origin)):
        logger.warning(
            "%s: these weights were trained otherwise than the spec says. Write:\n  %s",
            path,
            "\n  ".join(lines),
        )
    return report


def _other_in_spec(spec: Spec, plugins: Plugins, origin: Origin) -> list[str]:
    """What a spec should say for weights to mean what they were trained to mean, and does not."""
    component, config = backbone(spec, plugins)
    lines = []
    if origin.arch != spec.message.model_config.arch:
        lines.append(f'model_config {{ arch: "{origin.arch}" }}')
        if origin.arch.partition(":")[0] != component.name:
            return lines  # what else they need means nothing to this network
    given = preprocessing(spec)
    if (given.channel_order, given.means, given.scale) != (
        origin.channel_order,
        origin.means,
        origin.scale,
    ):
        inner = "\n      ".join(origin.input_fields())
        lines.append(f"model_config {{ input_image_config {{\n      {inner}\n  }} }}")
    needed: Any = options.parse(
        component.Options, origin.backbone_options, where="backbone_options"
    )
    if any(getattr(config, name) != value for name, value in origin.model_config.items()) or any(
        getattr(config.options, name) != getattr(needed, name) for name in origin.backbone_options
    ):
        inner = "\n      ".join(origin.model_fields())
        lines.append(f"model_config {{\n      {inner}\n  }}")
    return lines


def _refuse_others(spec: Spec, model: Model, path: Path) -> None:
    """What a trained model and its spec have to agree in."""
    _refuse_other_classes(spec, model, path)
    _refuse_other_input(spec, model, path)
    _refuse_other_boxes(spec, model, path)
    _refuse_other_quantization(spec, model, path)


def _refuse_other_classes(spec: Spec, model: Model, path: Path) -> None:
    names = class_map(spec).names
    if names != model.class_names:
        raise SpecError(
            f"dataset_config.target_class_mapping: the spec has the classes {', '.join(names)}, "
            f"{path} was trained for {', '.join(model.class_names)}."
        )


def _refuse_other_input(spec: Spec, model: Model, path: Path) -> None:
    """Evaluation and inference prepare images as the model file says, so training must as well."""
    given, trained = preprocessing(spec), model.preprocessing
    if given != trained:
        raise SpecError(
            f"model_config.input_image_config: the spec prepares images otherwise than {path}.\n"
            f"  Spec: {given.describe()}\n  Model: {trained.describe()}"
        )


def _refuse_other_boxes(spec: Spec, model: Model, path: Path) -> None:
    """What the layers have learnt is relative to the anchors and to the scale of the targets."""
    detector = model.detector
    for field, given, trained in (
        ("model_config.anchor_box_config", anchors(spec), detector.anchors),
        (
            "training_config.classifier_regr_std",
            regression_scale(spec),
            detector.regression_scale,
        ),
    ):
        if given != trained:
            raise SpecError(f"{field}: the spec has {given}, {path} was trained with {trained}.")


def _refuse_other_quantization(spec: Spec, model: Model, path: Path) -> None:
    """Whether a network is quantized is settled by its first training, as the documentation says:
    pruning chose its channels, and training its weights, with or without rounding."""
    wanted = spec.message.training_config.enable_qat
    trained = quantization(model.detector.parts) is not None
    if wanted and not trained:
        raise SpecError(
            f"training_config.enable_qat: {path} was trained without. Quantization-aware training "
            "has to be on from the initial training, before anything is pruned.\n"
            "  Type enable_qat: False to go on as it is, or start over with enable_qat: True; "
            "pretrained_weights takes the weights of a model that was not pruned."
        )
    if trained and not wanted:
        raise SpecError(
            f"training_config.enable_qat: {path} was trained with quantization-aware training, and "
            "its ranges are part of the network.\n  Type enable_qat: True to go on with it."
        )


def _refuse_other_kernels(spec: Spec, model: Model, path: Path) -> None:
    """A training that goes on has the ranges of kernels that it began with."""
    trained = quantization(model.detector.parts)
    wanted = spec.message.training_config.qat_config.per_channel_weights
    if trained is not None and trained.per_channel_weights != wanted:
        raise SpecError(
            f"training_config.qat_config.per_channel_weights: {path} was trained with "
            f"{trained.per_channel_weights}. Type {trained.per_channel_weights} to go on with it."
        )
