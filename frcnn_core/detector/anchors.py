"""The grid of anchors over a feature map.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from frcnn_core.detector.stride import STRIDE


@dataclass(frozen=True)
class Anchors:
    """One anchor per scale and ratio, scale-major, centred on every feature map cell.

    ``scales`` are sides in pixels of the square anchor; ``ratios`` are width / height at constant
    area (``model_config.anchor_box_config``).
    """

    scales: Sequence[float]
    ratios: Sequence[float]

    @property
    def per_cell(self) -> int:
        """A, the number of anchors per feature map cell."""
        return len(self.scales) * len(self.ratios)

    @property
    def sizes(self) -> np.ndarray:
        """(A, 2) heights and widths in pixels."""
        roots = np.sqrt(np.asarray(self.ratios, "float64"))
        scales = np.asarray(self.scales, "float64")[:, None]
        pairs = np.stack([scales / roots, scales * roots], axis=-1)
        return pairs.reshape(-1, 2).astype("float32")

    def over(self, height: tf.Tensor | int, width: tf.Tensor | int) -> tf.Tensor:
        """Anchors (h*w*A, 4) in pixels for a feature map of ``height`` x ``width`` cells.

        The order is row, column, anchor: the order of an RPN output (h, w, A) when flattened.
        """
        y = STRIDE * (tf.range(height, dtype=tf.float32) + 0.5)
        x = STRIDE * (tf.range(width, dtype=tf.float32) + 0.5)
        y, x = tf.meshgrid(y, x, indexing="ij")
        centres = tf.stack([y, x, y, x], axis=-1)[:, :, None, :]
        half = 0.5 * self.sizes
        corners = tf.constant(np.concatenate([-half, half], axis=-1))
        return tf.reshape(centres + corners, [-1, 4])

    def places(
        self, height: tf.Tensor, width: tf.Tensor, cells: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Which anchors of a batch's map belong to each image, and their places in the order that
        a map of the image's own size would have.

        Args:
            height, width: () int32 cells of the batch's map, N anchors.
            cells: (B, 2) int32 cells of each image's part of it, in the top left corner.

        Returns:
            (B, N) bool, and (B, N) int32; of anchors that are not the image's, the places mean
            nothing.
        """
        rows, columns = tf.range(height), tf.range(width)
        own = (rows < cells[:, :1])[:, :, None] & (columns < cells[:, 1:])[:, None, :]  # (B, h, w)
        places = rows[:, None] * cells[:, 1, None, None] + columns
        places = tf.where(own, places, 0)[:, :, :, None] * self.per_cell + tf.range(self.per_cell)
        shape = [tf.shape(cells)[0], height * width * self.per_cell]
        own = tf.repeat(own[:, :, :, None], self.per_cell, axis=-1)
        return tf.reshape(own, shape), tf.reshape(places, shape)
