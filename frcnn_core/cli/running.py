"""What commands that run a model, such as ``frcnn evaluate``, do alike before it runs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn_core.errors import FrcnnError, SpecError
from frcnn_core.spec import paths

if TYPE_CHECKING:
    from frcnn_core.assemble import EvaluationSet
    from frcnn_core.detector import DetectionSettings
    from frcnn_core.plugin import Runtime
    from frcnn_core.spec.load import Spec

logger = logging.getLogger(__name__)


def announce(warnings: Iterable[Any]) -> None:
    """Show what a check of the spec only warns of."""
    for warning in warnings:
        logger.warning("%s", warning)


def model_file(config: Any, engine: str) -> Path:
    """The model that an ``evaluation_config`` or ``inference_config`` names.

    Args:
        config: the message, checked.
        engine: its field for a TensorRT engine, which counts more than ``model``.
    """
    if config.HasField(engine):
        return paths.locate(getattr(config, engine).trt_engine)
    return paths.locate(config.model)


def open_for(
    spec: Spec, config: Any, path: Path, key: str | None, gpu_index: Sequence[int]
) -> Runtime:
    """The detector in a file, with the settings of ``config``, on the chosen GPU.

    An exported file keeps its own settings; where they differ, a warning says how.  Loads
    TensorFlow.
    """
    from frcnn_core.cli.terminal import load_tensorflow

    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.cli.devices import use_one_gpu
    from frcnn_core.plugin import installed

    use_one_gpu(gpu_index)
    settings = assemble.detection_settings(config)
    runtime = assemble.open_runtime(path, key or spec.message.enc_key, installed(), settings)
    warn_of_settings(path, settings, runtime.settings)
    return runtime


def warn_of_settings(
    path: Path, wanted: DetectionSettings, found: DetectionSettings | None
) -> None:
    """Tell where an exported file detects otherwise than the spec says."""
    if found is None or found == wanted:
        return
    own, given = dataclasses.asdict(found), dataclasses.asdict(wanted)
    others = ", ".join(
        f"{name} {value:g} instead of {given[name]:g}"
        for name, value in own.items()
        if value != given[name]
    )
    logger.warning(
        "%s detects as it was exported, not as the spec says: %s. Export it again to change that.",
        *(path, others),
    )


def validation_data(spec: Spec, class_names: Sequence[str], max_bad: int) -> EvaluationSet:
    """The labelled images that a model is measured on.

    Args:
        class_names: of the model.
        max_bad: images that may be missing, or bad where labels are read.

    Raises:
        SpecError: there are none, or their classes are not the model's.
        DataError: more images are bad.
    """
    from frcnn_core import assemble
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.plugin import installed

    data = assemble.evaluation_set(spec, installed(), max_missing=max_bad, progress=progress_of)
    if data is None:
        raise SpecError(
            f"{spec.where('dataset_config')}: dataset_config: there is no validation data. Set"
            " validation_fold or validation_data_source."
        )
    if data.class_map.names != class_names:
        raise SpecError(
            f"{spec.where('dataset_config.target_class_mapping')}:"
            " dataset_config.target_class_mapping: the spec's classes are"
            f" {', '.join(data.class_map.names)}, but the model's {', '.join(class_names)}."
        )
    return data


def refuse_existing(path: Path) -> None:
    """Nothing is replaced that another run wrote.

    Raises:
        FrcnnError: ``path`` exists.
    """
    if path.exists():
        raise FrcnnError(f"{path} exists. Give another name, or --overwrite to replace it.")
