"""Convolution whose filter gradient is fast on small maps."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

SMALL = 256
"""Cells of a map up to which the gradient is computed tap by tap."""


def conv2d(
    images: tf.Tensor,
    kernel: tf.Tensor,
    *,
    strides: Sequence[int] = (1, 1),
    padding: str = "SAME",
    dilations: Sequence[int] = (1, 1),
) -> tf.Tensor:
    """``tf.nn.conv2d`` on (B, h, w, C), with the same gradients.

    On a CPU the library's filter gradient runs at two thirds of the convolution's own rate or less
    where maps are small and many, as pooled RoIs are.  There it is computed as one matrix product
    for each tap of the kernel, which runs at full rate (``benchmarks/``).

    Args:
        images: (B, h, w, C).
        kernel: (k, k, C, filters).
        padding: ``SAME`` or ``VALID``.
    """
    given = {"strides": tuple(strides), "padding": padding, "dilations": tuple(dilations)}
    if not _is_small(images, kernel, **given) or _on_gpu():
        return tf.nn.conv2d(images, kernel, **given)
    return _by_taps(images, kernel)


@tf.custom_gradient
def _by_taps(images: tf.Tensor, kernel: tf.Tensor):
    """A ``SAME`` convolution of stride 1."""

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return (
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            ),
            _filter_gradient(images, upstream, kernel.shape),
        )

    return tf.nn.conv2d(images, kernel, strides=1, padding="SAME"), gradients


def _filter_gradient(images: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """(k, k, C, filters): for each tap, the shifted images times the upstream gradient."""
    size, _, channels, filters = shape
    height, width = images.shape[1:3]
    border = [size // 2, size // 2]
    padded = tf.pad(images, [[0, 0], border, border, [0, 0]])
    upstream = tf.reshape(upstream, [-1, filters])
    taps = [
        tf.matmul(
            tf.reshape(padded[:, y : y + height, x : x + width], [-1, channels]),
            upstream,
            transpose_a=True,
        )
        for y in range(size)
        for x in range(size)
    ]
    return tf.reshape(tf.stack(taps), shape)


def _is_small(images, kernel, *, strides, padding, dilations) -> bool:
    height, width = images.shape[1:3]
    size = kernel.shape[0]
    return (
        height is not None
        and width is not None
        and height * width <= SMALL
        and (padding == "SAME" or (size == 1 and padding == "VALID"))
        and size == kernel.shape[1]
        and size % 2 == 1
        and set(strides) == set(dilations) == {1}
    )


def _on_gpu() -> bool:
    return bool(tf.config.get_visible_devices("GPU"))
