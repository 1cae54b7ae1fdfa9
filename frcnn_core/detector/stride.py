"""The stride of the feature map, and image sizes in whole cells of it.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

STRIDE = 16
"""Pixels per feature map cell; every backbone's ``features`` has it (``rpn_stride``)."""


def canvas(sizes: Any) -> tf.Tensor:
    """Sizes (..., 2) in pixels, rounded up to whole cells of the feature map, int32.

    On such a canvas every layer of a backbone pads alike, whatever the size is.
    """
    import tensorflow as tf

    cells = tf.math.ceil(tf.cast(sizes, tf.float32) / STRIDE)
    return STRIDE * tf.cast(cells, tf.int32)
