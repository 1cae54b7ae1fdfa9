"""Convolutions whose filter gradients are fast on small maps and right in 16 bits, and biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import keras
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
    given: dict[str, Any] = {
        "strides": tuple(strides),
        "padding": padding,
        "dilations": tuple(dilations),
    }
    if not _is_small(images, kernel, **given) or _on_gpu():
        return tf.nn.conv2d(images, kernel, **given)
    return _by_taps(images, kernel)


def depthwise_conv2d(
    images: tf.Tensor,
    kernel: tf.Tensor,
    *,
    strides: Sequence[int] = (1, 1),
    padding: str = "SAME",
    dilations: Sequence[int] = (1, 1),
) -> tf.Tensor:
    """Keras's depthwise convolution of (B, h, w, C), with a filter gradient right in bfloat16.

    On a CPU without instructions for bfloat16 the library's adds bfloat16 numbers up in bfloat16:
    over 100,000 cells it comes out at half of what it is.  Here it is a sum in float32.

    Args:
        images: (B, h, w, C).
        kernel: (k, k, C, m), m filters for each channel.
        padding: ``SAME`` or ``VALID``.
    """

    def by_keras(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # It knows strides and dilations together, which TensorFlow mixes up.
        return keras.ops.depthwise_conv(
            images,
            kernel,
            strides=tuple(strides),
            padding=padding.lower(),
            data_format="channels_last",
            dilation_rate=tuple(dilations),
        )

    if images.dtype != tf.bfloat16:
        return by_keras(images, kernel)
    if set(dilations) != {1}:  # the operations of the gradient have none
        outputs = by_keras(tf.cast(images, tf.float32), tf.cast(kernel, tf.float32))
        return tf.cast(outputs, tf.bfloat16)
    given: dict[str, Any] = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(
        images: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.cast(images, tf.float32),
                filter_sizes=tf.shape(kernel),
                out_backprop=tf.cast(upstream, tf.float32),
                **given,
            )
            return (
                tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                    input_sizes=tf.shape(images), filter=kernel, out_backprop=upstream, **given
                ),
                tf.cast(of_kernel, kernel.dtype),
            )

        return tf.nn.depthwise_conv2d(images, kernel, **given), gradients

    return convolve(images, kernel)


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
def _by_taps(
    images: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
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
    size, _, channels, filters = cast("tuple[int, ...]", shape)
    if size == 1:
        images, upstream = tf.reshape(images, [-1, channels]), tf.reshape(upstream, [-1, filters])
        return tf.reshape(tf.matmul(images, upstream, transpose_a=True), shape)
    height, width = cast("tuple[int, ...]", images.shape[1:3])
    num_cells = height * width
    # With cells outermost, what a tap joins are two ranges of cells: no shift is a copy.
    images = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [num_cells, -1, channels])
    upstream = tf.transpose(upstream, [1, 2, 0, 3])
    reach = range(-(size // 2), size // 2 + 1)
    # A range runs from one row into the next: without what lies beyond the border of its own.
    within = {
        dx: tf.reshape(_without_border(upstream, dx), [num_cells, -1, filters]) for dx in reach
    }

    def product(dy: int, dx: int) -> tf.Tensor:
        shift = dy * width + dx
        first, count = max(0, -shift), num_cells - abs(shift)
        shifted = tf.slice(images, [first + shift, 0, 0], [count, -1, -1])
        own = tf.slice(within[dx], [first, 0, 0], [count, -1, -1])
        return tf.matmul(
            tf.reshape(shifted, [-1, channels]), tf.reshape(own, [-1, filters]), transpose_a=True
        )

    return tf.reshape(tf.stack([product(dy, dx) for dy in reach for dx in reach]), shape)


def _without_border(maps: tf.Tensor, dx: int) -> tf.Tensor:
    """Maps (h, w, B, C) with 0 where column x + dx would be beyond the border."""
    width = cast("int", maps.shape[1])
    inside = [0 <= x + dx < width for x in range(width)]
    return maps if all(inside) else maps * tf.reshape(tf.cast(inside, maps.dtype), [width, 1, 1])


def _is_small(
    images: tf.Tensor,
    kernel: tf.Tensor,
    *,
    strides: tuple[int, ...],
    padding: str,
    dilations: tuple[int, ...],
) -> bool:
    height, width = images.shape[1:3]
    size = cast("int", kernel.shape[0])
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
