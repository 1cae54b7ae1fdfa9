"""Curves and pictures of a training for TensorBoard, which need not be installed to write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import tensorflow as tf

SCALARS, IMAGES, HISTOGRAMS = "scalars", "images", "histograms"

# What TensorBoard's own plugins declare for their data: DATA_CLASS_SCALAR, _BLOB_SEQUENCE and
# _TENSOR of tensorboard/compat/proto/summary.proto.
_DATA_CLASS = {SCALARS: 1, IMAGES: 3, HISTOGRAMS: 2}

_BINS = 30


def run_directory(results_dir: Path, *, resumed: bool, now: datetime | None = None) -> Path:
    """Where a training's log goes: ``<results_dir>/logs/<date-time>``, new for a fresh one.

    A resumed training goes on in the newest folder there, so that its curves continue.
    """
    logs = Path(results_dir) / "logs"
    earlier = sorted(path for path in logs.iterdir() if path.is_dir()) if logs.is_dir() else []
    if resumed and earlier:
        return earlier[-1]
    first = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    name, number = first, 1
    while (logs / name).exists():
        number += 1
        name = f"{first}-{number}"
    return logs / name


class SummaryLog:
    """Adds an event file to ``directory``; what is there stays."""

    def __init__(self, directory: Path):
        self._writer = tf.summary.create_file_writer(str(directory))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each curve.

        Args:
            step: global step of the training.
            values: by tag, e.g. ``loss/rpn_class``.
        """
        for tag, value in values.items():
            self._write(SCALARS, tag, tf.constant(value, tf.float32), step)

    def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Pictures, by tag: (H, W, 3) or (H, W, 1) uint8."""
        for tag, image in images.items():
            height, width = image.shape[:2]
            png = tf.io.encode_png(image)
            self._write(IMAGES, tag, tf.stack([str(width), str(height), png]), step)

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Distributions, e.g. of a layer's weights, by tag: finite arrays of any shape."""
        for tag, array in values.items():
            counts, edges = np.histogram(array, bins=_BINS)
            rows = np.stack([edges[:-1], edges[1:], counts], axis=1)  # (bins, 3)
            self._write(HISTOGRAMS, tag, tf.constant(rows, tf.float64), step)

    def flush(self) -> None:
        """Make what was written so far visible."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, plugin: str, tag: str, tensor: tf.Tensor, step: int) -> None:
        # tf.summary.scalar and its like do the same but refuse without the tensorboard package.
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin
        metadata.data_class = _DATA_CLASS[plugin]
        with self._writer.as_default():
            tf.summary.write(tag, tensor, step=step, metadata=metadata)
