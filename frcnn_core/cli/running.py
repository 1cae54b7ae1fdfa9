"""What ``frcnn evaluate`` and ``frcnn inference`` do alike before a model runs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn_core.errors import FrcnnError
from frcnn_core.spec import paths

if TYPE_CHECKING:
    from frcnn_core.components import Runtime
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

    Loads TensorFlow.
    """
    from frcnn_core.cli.terminal import load_tensorflow

    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.cli.devices import use_one_gpu
    from frcnn_core.plugins import installed

    use_one_gpu(gpu_index)
    settings = assemble.detection_settings(config)
    return assemble.open_runtime(path, key or spec.message.enc_key, installed(), settings)


def refuse_existing(path: Path) -> None:
    """Nothing is replaced that another run wrote.

    Raises:
        FrcnnError: ``path`` exists.
    """
    if path.exists():
        raise FrcnnError(f"{path} exists. Give another name, or --overwrite to replace it.")
