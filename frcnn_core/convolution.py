"""Convolution whose filter gradient is fast on small maps, and biases that train in 16 bits."""

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

    On a CPU the library's filter gradient runs well below the convolution's own rate where maps
    are small and many, as pooled RoIs are.  There it is computed by matrix products, tap by tap of
    the kernel, which run at that rate; ``benchmarks/`` shows what it does for a step.

    Args:
        images: (B, h, w, C).
        kernel: (k, k, C, filters).
        padding: ``SAME`` or ``VALID``.
    """
    given = {"strides": tuple(strides), "padding": padding, "dilations": tuple(dilations)}
    if not _is_small(images, kernel, **given) or _on_gpu():
        return tf.nn.conv2d(images, kernel, **given)
    return _by_taps(images, kernel)


def add_bias(maps: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """``tf.nn.bias_add``, with a gradient that is right in bfloat16 too.

    On a CPU the library's gradient adds bfloat16 numbers up one by one, in bfloat16.  That has 8
    bits: a sum does not move any more once it is 256 times as large as what comes.  The gradient of
    a broadcast is a sum in float32, and no slower.

    Args:
        maps: (..., C), whatever a layer makes.
        bias: (C,), of the same dtype.
    """
    return maps + bias if maps.dtype == tf.bfloat16 else tf.nn.bias_add(maps, bias)


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
    if size == 1:
        images, upstream = tf.reshape(images, [-1, channels]), tf.reshape(upstream, [-1, filters])
        return tf.reshape(tf.matmul(images, upstream, transpose_a=True), shape)
    height, width = images.shape[1:3]
    num_images = tf.shape(images)[0]
    # With cells outermost, what a tap joins are ranges of rows: nothing is copied or padded.
    images = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [-1, channels])
    upstream = tf.reshape(tf.transpose(upstream, [1, 2, 0, 3]), [-1, filters])

    def product(cell: int, num_cells: int, shift: int) -> tf.Tensor:
        """Of consecutive cells of the upstream gradient with those ``shift`` cells further on."""
        first, last = cell * num_images, (cell + num_cells) * num_images
        beyond = shift * num_images
        return tf.matmul(
            images[first + beyond : last + beyond], upstream[first:last], transpose_a=True
        )

    reach = range(-(size // 2), size // 2 + 1)
    taps = [
        tf.add_n([product(*run, dy * width + dx) for run in _runs(dy, dx, height, width)])
        for dy in reach
        for dx in reach
    ]
    return tf.reshape(tf.stack(taps), shape)


def _runs(dy: int, dx: int, height: int, width: int) -> list[tuple[int, int]]:
    """Where a map overlaps itself shifted by (dy, dx): first cell and length of each run of cells
    that follow each other row by row."""
    top, bottom = max(0, -dy), min(height, height - dy)
    left, right = max(0, -dx), min(width, width - dx)
    if dx == 0:  # whole rows, each of which follows the one before
        return [(top * width, (bottom - top) * width)]
    return [(y * width + left, right - left) for y in range(top, bottom)]


def _is_small(images, kernel, *, strides, padding, dilations) -> bool:
    height, width = images.shape[1:3]
    size = kernel.shape[0]
    return (
        height is not None
        and width is not None
        and height * width <= SMALL
        and min(height, width) > size // 2
        and (padding == "SAME" or (size == 1 and padding == "VALID"))
        and size == kernel.shape[1]
        and size % 2 == 1
        and set(strides) == set(dilations) == {1}
    )


def _on_gpu() -> bool:
    return bool(tf.config.get_visible_devices("GPU"))
