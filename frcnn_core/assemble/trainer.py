"""A trainer as a spec describes it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from frcnn_core import weights
from frcnn_core.assemble import provenance
from frcnn_core.assemble.data import (
    EvaluationSet,
    augmentation,
    class_map,
    evaluation_set,
    preprocessing,
    sources,
)
from frcnn_core.assemble.direct import ShowProgress
from frcnn_core.assemble.evaluation import accumulators, detect_function, detection_settings
from frcnn_core.assemble.models import backbone
from frcnn_core.assemble.start import start
from frcnn_core.assemble.values import choice, chosen, plain
from frcnn_core.data import (
    Augmentation,
    BadImages,
    Batches,
    ClassMap,
    Preprocessing,
    RecordSummary,
    Source,
    inspect,
    training_batches,
)
from frcnn_core.data.sampling import SamplingMode
from frcnn_core.data.shards import num_batches
from frcnn_core.data.sources import warn_of_losses
from frcnn_core.detector import FasterRCNN, TrainingSettings, placement, precision
from frcnn_core.errors import SpecError
from frcnn_core.evaluation import EvaluationReport, evaluate
from frcnn_core.inference import drawing, infer
from frcnn_core.model_files import Checkpoints, Model, Naming, Provenance, restore_optimizer
from frcnn_core.plugin import Plugins, options
from frcnn_core.processes import ALONE, Workers
from frcnn_core.spec.load import Spec
from frcnn_core.structures import ImageDetections
from frcnn_core.training import EarlyStopping, Progress, Trainer, Visualizer
from frcnn_core.training import statistics as calibration

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A trainer, and what its user may want to know before it runs."""

    trainer: Trainer
    results_dir: Path
    data: RecordSummary
    validation: EvaluationSet | None
    loaded: weights.LoadReport | None
    """What became of ``pretrained_weights``."""
    precision: str
    """Keras dtype policy of the layers."""
    visualizer: Visualizer | None


def training(
    spec: Spec,
    plugins: Plugins,
    *,
    key: str = "",
    results_dir: Path | None = None,
    use_amp: bool = False,
    max_bad: int = 0,
    workers: Workers = ALONE,
    devices: Sequence[str] = (),
    on_reading: ShowProgress | None = None,
    on_validation: Callable[[int], None] | None = None,
) -> Training:
    """Everything that ``frcnn train`` needs, built and checked before the first step.

    In several processes each builds its own, from the same files; ``Trainer.run`` brings them
    together.

    Args:
        spec: checked for the task ``train``.
        plugins: the installed ones.
        key: encrypts and decrypts model files, unless empty.
        results_dir: overrides the folder of ``training_config.output_model``.
        use_amp: mixed precision.
        max_bad: image files that may be bad and skipped, of training and validation together.
        workers: the processes that train together; the first one alone has a visualizer.
        devices: TensorFlow's names of those that ``training_config.model_parallelism`` divides the
            layers among.
        on_reading: shows how far the reading of labels that are in no records is.
        on_validation: told how many more images are done while a validation runs.

    Raises:
        FrcnnError: data, weights or a checkpoint cannot be used.
    """
    config = spec.message.training_config
    training_sources, validation_sources = sources(
        spec, plugins, max_bad=max_bad, progress=on_reading
    )
    mapping = class_map(spec)
    data = inspect(training_sources, mapping, max_missing=max_bad)
    bad_images = BadImages(max_bad)
    bad_images.add_missing(data.missing)
    preprocess = preprocessing(spec)
    max_objects = spec.message.model_config.input_image_config.max_objects_num_per_image
    warn_of_losses(data, preprocess, max_objects)

    policy = precision.policy(use_amp=use_amp)
    model, loaded, state = start(spec, plugins, key, policy)
    if len(config.model_parallelism) > 1:
        model.detector = _placed(spec, plugins, model.detector, devices)
    optimizer = _optimizer(spec, plugins, policy)
    progress = Progress()
    if state:
        restore_optimizer(optimizer, model.detector.trainable_variables, state)
        progress = Progress(**model.progress)

    naming = Naming.of(
        arch=spec.message.model_config.arch,
        output_model=config.output_model,
        results_dir=results_dir or "",
    )
    whole_batches = partial(
        _training_batches,
        training_sources,
        mapping,
        preprocess,
        augmentation(spec),
        max_objects=max_objects,
        seed=spec.message.random_seed,
        min_box_size=_min_box_size(spec),
        sampling=_sampling(spec),
        bad_images=bad_images,
    )
    batches = partial(
        whole_batches,
        batch_size=config.batch_size_per_gpu,
        shard=(workers.rank, workers.size),
    )
    settings = training_settings(spec)
    if unmeasured := _without_statistics(spec, model, loaded):
        logger.info(
            "freeze_bn without pretrained weights for %d layers of batch normalization: their "
            "statistics are measured on %d training images, and fixed.",
            len(unmeasured),
            calibration.NUM_IMAGES,
        )
        if workers.is_first:  # the others get them before the first step
            together = 1 if model.detector.only_single_images else workers.size
            size = calibration.batch_size(config.batch_size_per_gpu, together)
            calibration.measure_statistics(
                model.detector,
                whole_batches(0, 0, batch_size=size),
                settings,
                of=unmeasured.__contains__,
            )
    validation = evaluation_set(spec, plugins, validation=validation_sources, max_missing=max_bad)
    model.provenance = provenance.extended(
        model.provenance, _provenance(spec, plugins, model, validated=validation is not None)
    )
    trainer = Trainer(
        model=model,
        optimizer=optimizer,
        learning_rate=_learning_rate(spec, plugins),
        batches=batches,
        settings=settings,
        checkpoints=Checkpoints(naming, interval=config.checkpoint_interval),
        num_epochs=config.num_epochs,
        steps_per_epoch=num_batches(data.count, config.batch_size_per_gpu * workers.size),
        batch_size=config.batch_size_per_gpu,
        seed=spec.message.random_seed,
        key=key,
        validate=_validation(spec, plugins, model, validation, bad_images, on_validation, workers)
        if validation
        else None,
        validation_period=spec.message.evaluation_config.validation_period_during_training or 1,
        early_stopping=_early_stopping(config),
        progress=progress,
        bad_images=bad_images,
        workers=workers,
    )
    return Training(
        trainer=trainer,
        results_dir=naming.directory,
        data=data,
        validation=validation,
        loaded=loaded,
        precision=policy,
        visualizer=(_visualizer(spec, model, validation, bad_images) if workers.is_first else None),
    )


def training_settings(spec: Spec) -> TrainingSettings:
    """``training_config``, what of it concerns proposals, targets and losses."""
    config = spec.message.training_config
    return TrainingSettings(
        roi_mini_batch=spec.message.model_config.roi_mini_batch,
        **chosen(config, TrainingSettings, but=("roi_mini_batch",)),
    )


def _provenance(spec: Spec, plugins: Plugins, model: Model, *, validated: bool) -> Provenance:
    """The components that a training takes, as its checkpoints record them."""
    config = spec.message.training_config
    metrics = accumulators(spec, plugins, model.class_names) if validated else {}
    return provenance.record(
        plugins,
        [
            ("backbone", model.arch.partition(":")[0]),
            ("optimizer", choice(config.optimizer, "optim", "training_config.optimizer")[0]),
            (
                "lr_schedule",
                choice(config.learning_rate, "lr_config", "training_config.learning_rate")[0],
            ),
            *(("metric", name) for name in metrics),
        ],
    )


def _placed(
    spec: Spec, plugins: Plugins, detector: FasterRCNN, devices: Sequence[str]
) -> FasterRCNN:
    """The detector with its layers divided among devices (``training_config.model_parallelism``).

    Raises:
        SpecError: there are fewer or more devices than fractions, or too few layers.
    """
    fractions = [plain(fraction) for fraction in spec.message.training_config.model_parallelism]
    if len(devices) != len(fractions):
        raise SpecError(
            f"training_config.model_parallelism: {len(fractions)} fractions need as many devices, "
            f"not {len(devices)}. Type --gpus {len(fractions)} --num_processes 1."
        )
    device_of = placement.assign(detector.parts, fractions, devices)
    counts = Counter(device_of.values())
    logger.info("Layers: %s.", ", ".join(f"{counts[device]} on {device}" for device in devices))
    component, _ = backbone(spec, plugins)
    return placement.place(detector, device_of, custom_layers=component.custom_layers())


def _without_statistics(
    spec: Spec, model: Model, loaded: weights.LoadReport | None
) -> frozenset[str]:
    """Normalizations whose frozen statistics would be those of no data at all."""
    config = spec.message.training_config
    if not spec.message.model_config.freeze_bn or (
        config.resume_from_model or config.retrain_pruned_model
    ):
        return frozenset()
    came = {row.layer for row in loaded.layers if row.status == "Yes"} if loaded else set()
    return frozenset(
        layer.name
        for part in model.detector.parts.values()
        for layer in part.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name not in came
    )


def _training_batches(
    training_sources: Sequence[Source],
    mapping: ClassMap,
    preprocess: Preprocessing,
    augment: Augmentation | None,
    epoch: int,
    first_step: int,
    **given: Any,
) -> Batches:
    return training_batches(
        training_sources, mapping, preprocess, augment, epoch=epoch, first_step=first_step, **given
    )


def _sampling(spec: Spec) -> SamplingMode:
    config = spec.message.dataset_config
    return SamplingMode[config.SAMPLING_MODE.Name(config.sampling_mode)]


def _min_box_size(spec: Spec) -> tuple[float, float]:
    config = spec.message.augmentation_config.preprocessing
    return (plain(config.min_bbox_height), plain(config.min_bbox_width))


def _early_stopping(config: Any) -> EarlyStopping | None:
    if not config.HasField("early_stopping"):
        return None
    stopping = config.early_stopping
    return EarlyStopping(patience=stopping.patience, min_delta=plain(stopping.min_delta))


def _validation(
    spec: Spec,
    plugins: Plugins,
    model: Model,
    data: EvaluationSet,
    bad_images: BadImages,
    on_progress: Callable[[int], None] | None,
    workers: Workers,
) -> Callable[[], EvaluationReport]:
    config = spec.message.evaluation_config
    detect = detect_function(model, detection_settings(config))

    def validate() -> EvaluationReport:
        return evaluate(
            detect,
            data.batches(
                model.preprocessing,
                config.batch_size or 1,
                bad_images,
                shard=(workers.rank, workers.size),
            ),
            accumulators(spec, plugins, model.class_names),
            class_names=model.class_names,
            progress=on_progress,
            workers=workers,
        )

    return validate


def _visualizer(
    spec: Spec, model: Model, data: EvaluationSet | None, bad_images: BadImages
) -> Visualizer | None:
    """``training_config.visualizer``; its pictures are of the first validation images."""
    config = spec.message.training_config.visualizer
    if not config.enabled:
        return None
    files: list[Path] = []
    if data and config.num_images:
        first = next(iter(data.batches(model.preprocessing, config.num_images, bad_images)))
        present = np.asarray(first.sizes).any(axis=1)
        files = [Path(name.decode()) for name in first.names.numpy()[present]]
    threshold = plain(spec.message.inference_config.bbox_visualize_threshold)
    detect = detect_function(model, detection_settings(spec.message.evaluation_config))

    def pictures() -> dict[str, np.ndarray]:
        drawn = {}

        def on_image(path: Path, pixels: np.ndarray, found: ImageDetections) -> None:
            picture = drawing.draw(pixels, found, model.class_names, min_score=threshold)
            drawn[path.name] = np.asarray(picture)

        infer(detect, model.preprocessing, files, on_image, batch_size=len(files) or 1)
        return drawn

    return Visualizer(pictures, weight_histograms=config.weight_histograms)


def _optimizer(spec: Spec, plugins: Plugins, policy: str) -> keras.optimizers.Optimizer:
    """``training_config.optimizer``; float16 needs its loss scaled."""
    config = spec.message.training_config.optimizer
    name, given, where = choice(config, "optim", "training_config.optimizer")
    component = plugins.optimizers.get(name, where=where)
    optimizer = component.build(options.parse(component.Options, given, where=where))
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _learning_rate(spec: Spec, plugins: Plugins) -> Callable[[float], float]:
    """``training_config.learning_rate`` as a function of progress in [0, 1)."""
    config = spec.message.training_config.learning_rate
    name, given, where = choice(config, "lr_config", "training_config.learning_rate")
    component = plugins.lr_schedules.get(name, where=where)
    return partial(component.learning_rate, options.parse(component.Options, given, where=where))
