"""A detector as a spec describes it, or as a file holds it."""

from __future__ import annotations

from pathlib import Path

import keras

from frcnn_core.assemble import provenance
from frcnn_core.assemble.data import class_map, preprocessing
from frcnn_core.assemble.values import plain
from frcnn_core.detector import Anchors, BackboneConfig, FasterRCNN, draw
from frcnn_core.errors import SpecError
from frcnn_core.model_files import Model, archive, provenance_in
from frcnn_core.plugin import Backbone, Plugins, arch, options
from frcnn_core.quantization import quantize
from frcnn_core.spec.load import Spec
from frcnn_core.spec.training_pb2 import RegularizerConfig


def backbone(spec: Spec, plugins: Plugins) -> tuple[Backbone, BackboneConfig]:
    """``model_config``: who draws the network, and how.

    Raises:
        SpecError: no plugin provides the architecture, or it does not take the options.
    """
    config = spec.message.model_config
    component, variant = arch.resolve(config.arch, plugins.backbones)
    return component, BackboneConfig(
        variant=variant,
        freeze_blocks=frozenset(int(block) for block in config.freeze_blocks),
        freeze_bn=config.freeze_bn,
        use_bias=config.use_bias,
        use_pooling=config.use_pooling,
        all_projections=config.all_projections,
        dropout_rate=plain(config.dropout_rate),
        drop_connect_rate=plain(config.drop_connect_rate),
        activation=config.activation.activation_type,
        pool_size=config.roi_pooling_config.pool_size,
        pool_size_2x=config.roi_pooling_config.pool_size_2x,
        kernel_regularizer=regularizer(spec),
        options=options.parse(
            component.Options,
            dict(config.backbone_options),
            where="model_config.backbone_options",
        ),
    )


def regularizer(spec: Spec) -> keras.regularizers.Regularizer | None:
    """``training_config.regularizer``; L2 is weight times the sum of squares, as in Keras."""
    config = spec.message.training_config.regularizer
    weight = plain(config.weight)
    if config.type == RegularizerConfig.L1:
        return keras.regularizers.L1(weight)
    if config.type == RegularizerConfig.L2:
        return keras.regularizers.L2(weight)
    return None


def anchors(spec: Spec) -> Anchors:
    """``model_config.anchor_box_config``."""
    config = spec.message.model_config.anchor_box_config
    return Anchors(scales=tuple(map(plain, config.scale)), ratios=tuple(map(plain, config.ratio)))


def regression_scale(spec: Spec) -> tuple[float, float, float, float]:
    """``training_config.classifier_regr_std`` in the order dx, dy, dw, dh."""
    scale = spec.message.training_config.classifier_regr_std
    x, y, width, height = (plain(scale[key]) for key in "xywh")
    return x, y, width, height


def new_model(spec: Spec, plugins: Plugins) -> Model:
    """A model with fresh weights, drawn as the spec says."""
    config = spec.message.model_config
    own_anchors = anchors(spec)
    component, backbone_config = backbone(spec, plugins)
    names = class_map(spec).names
    preprocess = preprocessing(spec)
    keras.utils.set_random_seed(spec.message.random_seed)
    features, rpn, head = draw(
        component,
        backbone_config,
        channels=preprocess.channels,
        anchors_per_cell=own_anchors.per_cell,
        num_classes=len(names),
    )
    parts = {"features": features, "rpn": rpn, "head": head}
    training = spec.message.training_config
    if training.enable_qat:
        per_channel = training.qat_config.per_channel_weights
        parts = quantize(parts, per_channel_weights=per_channel)
    return Model(
        detector=FasterRCNN(
            **parts,
            anchors=own_anchors,
            regression_scale=regression_scale(spec),
            dynamic_shape=preprocess.is_dynamic,
        ),
        class_names=names,
        preprocessing=preprocess,
        arch=config.arch,
        spec=spec.text,
        provenance=provenance.record(plugins, [("backbone", component.name)]),
    )


def refuse_batches(spec: Spec, model: Model) -> None:
    """Refuse batches of several images where the model cannot keep them apart.

    Raises:
        SpecError: names the layer that is in the way, and every field to change.
    """
    if not (reason := model.detector.only_single_images):
        return
    message = spec.message
    sizes = {
        "training_config.batch_size_per_gpu": message.training_config.batch_size_per_gpu,
        "evaluation_config.batch_size": message.evaluation_config.batch_size,
    }
    problems = [one_at_a_time(reason, field) for field, size in sizes.items() if size > 1]
    if problems:
        raise SpecError("\n".join(problems))


def one_at_a_time(reason: str, field: str) -> str:
    """What to say where a batch would have several images and must not.

    Args:
        reason: as ``FasterRCNN.only_single_images``.
        field: the size of the batch.
    """
    return (
        f"{field}: images of different sizes cannot share a batch here. {reason}, so images would "
        "be mixed with their padding.\n"
        "  Type 1, or give the images one size with model_config.input_image_config "
        "size_height_width."
    )


def open_model(path: Path, key: str, plugins: Plugins, *, precision: str = "float32") -> Model:
    """The model in a file.

    Raises:
        ModelFileError: the file cannot be read, or not with this key.
        UnknownComponentError: the plugin that drew its backbone is not there; says what to install.
    """
    return from_archive(archive.read(path, key), plugins, path, precision)


def from_archive(content: archive.Archive, plugins: Plugins, path: Path, precision: str) -> Model:
    name = str(content.manifest.get("arch", "")).partition(":")[0]
    made_by = provenance_in(content.manifest)
    component = provenance.backbone_of(name, made_by, plugins, path)
    return Model.from_archive(content, precision=precision, custom_layers=component.custom_layers())
