"""Layers that compute what int8 arithmetic will, in floating point, and learn around its rounding.

*Fake quantization* rounds a number to the nearest of 255 or 256 evenly spaced ones, multiples of a
*scale*, and goes on with the result as a float.  A network that trains this way loses little when
its kernels and feature maps really become int8.  Everything here is symmetric, with zero at code 0,
and has 127 steps from zero to the *range*: scale = range / 127, as TensorRT has it.

Rounding has no useful gradient; it is taken to be 1 everywhere (the straight-through estimator), as
in the original, also where a value is beyond the range.  So what lies beyond can still be learnt.

Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877; Bengio et al. 2013,
https://arxiv.org/abs/1308.3432.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import keras
import tensorflow as tf

from frcnn_core.detector.convolution import add_bias

T = TypeVar("T")

if TYPE_CHECKING:
    _Layer = keras.layers.Layer
else:
    _Layer = object  # what it is mixed into is one

STEPS = 127
"""From zero to the range."""

SMALLEST_RANGE = 1e-12
"""What a range of 0 is taken for: the scale is divided by."""


def fake_quantized(values: tf.Tensor, range: tf.Tensor) -> tf.Tensor:
    """The float32 values on the grid of int8 codes: -128 to 127 times range / 127.

    These are the numbers that ONNX's QuantizeLinear and DequantizeLinear make, which round ties to
    even and stop at -128 and 127.  The gradient is that of the identity.

    Args:
        values: float32, of any shape.
        range: () float32, not negative.
    """
    range = tf.maximum(range, SMALLEST_RANGE)
    # One pass over memory, where the formula written out takes five; its gradient keeps nothing.
    # It multiplies by 127 / range where ONNX divides by range / 127, so of the values that are
    # within rounding of a tie, some go the other way.  fake_quant_with_min_max_vars rounds ties up.
    return tf.raw_ops.QuantizeAndDequantizeV2(
        input=values,
        input_min=-range,
        input_max=range,
        signed_input=True,
        num_bits=8,
        range_given=True,
        round_mode="HALF_TO_EVEN",
        narrow_range=False,
    )


@tf.custom_gradient
def _fake_quantized_kernel(
    kernel: tf.Tensor, range: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, None]]]:
    """As ``fake_quantized``, with a range that broadcasts and is the largest value there is."""
    scale = tf.maximum(range, SMALLEST_RANGE) / STEPS
    return tf.round(kernel / scale) * scale, lambda upstream: (upstream, None)


@keras.saving.register_keras_serializable("frcnn")
class FakeQuantize(keras.layers.Layer):
    """A tensor on the grid of int8 codes of its range.

    The range is the largest absolute value that a batch had on average: an exponential moving
    average over training steps, without the bias towards its start.  After the first step it is
    that batch's own, and no initial value has a part in it.  A range that no step has seen yet
    passes values through.

    Args:
        decay: of the moving average; 0.999 as in the original.

    ``range`` and ``counter``, both (), are variables that do not train.  They are part of every
    checkpoint, so a resumed training goes on exactly.
    """

    def __init__(self, *, decay: float = 0.999, **kwargs: Any):
        super().__init__(**kwargs)
        self.decay = decay
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self.range, self.counter = (
            self.add_weight(
                name=name,
                shape=(),
                initializer="zeros",
                dtype="float32",
                trainable=False,
                autocast=False,
            )
            for name in ("range", "counter")
        )

    @property
    def moving_variables(self) -> list[keras.Variable]:
        """What training moves by the batches it sees: processes that train together average it."""
        return [self.range]

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """``mask``, (B, h, w) bool, says which cells count for the range; None is all."""
        values = tf.cast(inputs, tf.float32)
        if training:
            range = self._moved(_largest(values, mask))
            return tf.cast(fake_quantized(values, range), inputs.dtype)
        return tf.cond(
            self.counter.value > 0,
            lambda: tf.cast(fake_quantized(values, self.range.value), inputs.dtype),
            lambda: tf.identity(inputs),
        )

    def compute_output_shape(self, input_shape: T) -> T:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}

    def _moved(self, largest: tf.Tensor) -> tf.Tensor:
        """The range, after a step whose largest absolute value was this."""
        before, count = self.range.value, self.counter.value + 1.0
        # An average of n terms with weights proportional to decay^age: the new one's weight is
        # (1 - decay) / (1 - decay^n), which is exactly 1 for n = 1.
        weight = tf.math.expm1(math.log(self.decay)) / tf.math.expm1(count * math.log(self.decay))
        after = before + weight * (largest - before)
        # A batch that overflowed must not be remembered, nor a process's share of no images.
        seen = tf.math.is_finite(largest)
        after = tf.where(seen, after, before)
        self.range.assign(after)
        self.counter.assign(tf.where(seen, count, count - 1.0))
        return after


def _largest(values: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """() the largest absolute value, of cells in the mask; infinite or no number if there is none,
    or if one of them is."""
    values = tf.stop_gradient(values)
    if mask is not None:
        values = tf.where(tf.reshape(mask, _as_rank(mask, values)), values, 0.0)
    # Two reductions that only read are faster than one over absolute values that are written first.
    return tf.maximum(tf.reduce_max(values), -tf.reduce_min(values))


def _as_rank(mask: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    ones = [1] * (len(values.shape) - len(mask.shape))
    return tf.concat([tf.shape(mask), tf.constant(ones, tf.int32)], axis=0)


class QuantizedKernel(_Layer):
    """What the three layers below share: their kernel is on the grid of its own codes, -127 to 127.

    Its range is its largest absolute value at the moment, so it is stored nowhere, and nothing is
    cut off.
    """

    per_channel: bool
    """Whether each output channel has a range of its own, not the kernel one as a whole."""
    kernel: keras.Variable

    _axes: tuple[int, ...]
    """Of a kernel, what belongs to one output channel."""

    def kernel_range(self) -> tf.Tensor:
        """The range: (), or (output channels,) float32."""
        return tf.reshape(self._range(), [-1] if self.per_channel else [])

    def rounded_kernel(self) -> tf.Tensor:
        """The kernel on its grid, float32."""
        return _fake_quantized_kernel(self.kernel.value, tf.stop_gradient(self._range()))

    def add_weight(self, *args: Any, name: str | None = None, **kwargs: Any) -> keras.Variable:
        if name == "kernel":
            kwargs["autocast"] = False  # it is rounded as it is stored, whatever is computed in
        return super().add_weight(*args, name=name, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "per_channel": self.per_channel}

    def _range(self) -> tf.Tensor:
        axes = self._axes if self.per_channel else None
        return tf.reduce_max(tf.abs(self.kernel.value), axis=axes, keepdims=True)

    def _computed(self) -> tf.Tensor:
        return tf.cast(self.rounded_kernel(), self.compute_dtype)


@keras.saving.register_keras_serializable("frcnn")
class QuantizedConv2D(QuantizedKernel, keras.layers.Conv2D):
    """A convolution whose kernel is fake-quantized; weights and names as Keras's."""

    _axes = (0, 1, 2)

    def __init__(self, *args: Any, per_channel: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.per_channel = per_channel

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return super().convolution_op(inputs, self._computed())


@keras.saving.register_keras_serializable("frcnn")
class QuantizedDepthwiseConv2D(QuantizedKernel, keras.layers.DepthwiseConv2D):
    """A depthwise convolution whose kernel is fake-quantized; weights and names as Keras's."""

    _axes = (0, 1)

    def __init__(self, *args: Any, per_channel: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.per_channel = per_channel

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = keras.ops.depthwise_conv(
            inputs,
            self._computed(),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            ones = (1,) * 2
            channels_first = self.data_format == "channels_first"
            bias_shape = (1, -1, *ones) if channels_first else (1, *ones, -1)
            outputs = keras.ops.add(outputs, keras.ops.reshape(self.bias, bias_shape))
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable("frcnn")
class QuantizedDense(QuantizedKernel, keras.layers.Dense):
    """A dense layer whose kernel is fake-quantized; weights and names as Keras's."""

    _axes = (0,)

    def __init__(self, *args: Any, per_channel: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.per_channel = per_channel

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        outputs = keras.ops.matmul(inputs, self._computed())
        if self.use_bias:
            outputs = add_bias(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


QUANTIZED = {
    keras.layers.Conv2D: QuantizedConv2D,
    keras.layers.DepthwiseConv2D: QuantizedDepthwiseConv2D,
    keras.layers.Dense: QuantizedDense,
}
"""What takes the place of which layer."""
