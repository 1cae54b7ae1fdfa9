"""How backbones draw convolutions, normalisations and pools, with the spec's freezing rules.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

Padding = Literal["symmetric", "tensorflow"]
"""Where a convolution of stride 2 puts its zeros.

``symmetric``: ``kernel // 2`` on every side, as the original, PyTorch and Darknet do.
``tensorflow``: as many as needed, the odd one at the bottom and right, as TensorFlow's ``same``
does.  The two sample different pixels, so weights fit the one they were trained with.
"""


@dataclass(frozen=True)
class BackboneConfig:
    """What a spec's ``model_config`` says about a backbone, already validated."""

    variant: str = ""
    freeze_blocks: frozenset[int] = frozenset()
    freeze_bn: bool = False
    use_bias: bool = False
    use_pooling: bool = False
    all_projections: bool = True
    dropout_rate: float = 0.0
    drop_connect_rate: float = 0.0
    activation: str = ""
    pool_size: int = 7
    pool_size_2x: bool = False
    kernel_regularizer: keras.regularizers.Regularizer | None = None
    options: Any = None
    """An instance of the family's ``Options``."""

    @property
    def roi_side(self) -> int:
        """S: side in cells of the square map that RoI pooling hands to the head."""
        return self.pool_size * (2 if self.pool_size_2x else 1)


@keras.saving.register_keras_serializable("frcnn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with the spec's ``freeze_bn``, by TensorFlow's fused kernel.

    Args:
        frozen_statistics: the moving mean and variance are used and never moved, in training too,
            while gamma and beta still train.  A plain layer called with ``training=False`` is not
            enough: Keras 3 replays a functional graph with the outer call's ``training`` value.

    The moving variance follows the biased variance of the batch, as Keras does and the original
    did.  ``trainable=False`` freezes gamma and beta too, and then the statistics.
    """

    gamma: keras.Variable
    beta: keras.Variable
    moving_mean: keras.Variable
    moving_variance: keras.Variable

    def __init__(self, *, frozen_statistics: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.frozen_statistics = frozen_statistics

    def uses_batch_statistics(self, training: bool | None) -> bool:
        """Whether a call with this ``training`` flag normalises by the batch's own statistics."""
        return bool(training) and self.trainable and not self.frozen_statistics

    def affine(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale and offset (C,), float32, that equal this layer with its moving statistics."""
        scale = tf.math.rsqrt(self.moving_variance.value + self.epsilon)
        if self.scale:
            scale = scale * self.gamma.value
        offset = -self.moving_mean.value * scale
        return scale, offset + self.beta.value if self.center else offset

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """``mask``, (B, h, w) bool, says which cells count in batch statistics; None is all."""
        if not self.uses_batch_statistics(training):
            scale, offset = self.affine()
            return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)
        if mask is not None:
            return self._normalized_over(inputs, mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma.value if self.scale else tf.ones_like(self.moving_mean.value),
            self.beta.value if self.center else tf.zeros_like(self.moving_mean.value),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel answers with the unbiased variance, n / (n - 1) times the biased one.
        n = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * (n - 1.0) / n)
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen_statistics": self.frozen_statistics}

    def _normalized_over(self, inputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Inputs (B, h, w, C), normalized by the statistics of the cells in ``mask``."""
        mask = mask[:, :, :, None]
        count = tf.maximum(tf.reduce_sum(tf.cast(mask, tf.float32)), 1.0)
        values = tf.where(mask, tf.cast(inputs, tf.float32), 0.0)
        mean = tf.reduce_sum(values, axis=(0, 1, 2)) / count
        squares = tf.where(mask, tf.square(values - mean), 0.0)
        variance = tf.reduce_sum(squares, axis=(0, 1, 2)) / count
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        outputs = tf.nn.batch_normalization(
            values,
            mean,
            variance,
            self.beta.value if self.center else None,  # type: ignore[arg-type]  # None is none
            self.gamma.value if self.scale else None,  # type: ignore[arg-type]
            self.epsilon,
        )
        return tf.cast(outputs, inputs.dtype)

    def _move(self, statistic: keras.Variable, value: tf.Tensor) -> None:
        statistic.assign(statistic.value * self.momentum + value * (1.0 - self.momentum))


class Blocks:
    """Draws layers onto a functional graph so that every backbone obeys the spec alike.

    Layers get the names they are given: weights are found by them.
    """

    def __init__(self, config: BackboneConfig):
        self.config = config

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        *,
        name: str,
        block: int | None,
        strides: int = 1,
        padding: Padding = "symmetric",
        pad_name: str = "",
        use_bias: bool | None = None,
        activation: str | None = None,
        initializer: str | keras.initializers.Initializer = "glorot_uniform",
    ) -> keras.KerasTensor:
        """A square convolution.

        Args:
            x: (B, h, w, C).
            block: freezing id of the kernel; None for a layer that cannot be frozen.
            padding: see ``Padding``.
            pad_name: of the padding layer, where there is one; ``NAME_pad`` unless given.
            use_bias: None for the spec's ``use_bias``.

        Returns:
            (B, ceil(h / strides), ceil(w / strides), filters), for odd kernels.
        """
        return keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding=_keras_padding(padding, strides),
            use_bias=self.config.use_bias if use_bias is None else use_bias,
            activation=activation,
            kernel_initializer=initializer,
            kernel_regularizer=self.config.kernel_regularizer,
            trainable=block not in self.config.freeze_blocks,
            name=name,
        )(_padded(x, kernel, strides, padding, pad_name or f"{name}_pad"))

    def depthwise(
        self,
        x: keras.KerasTensor,
        kernel: int,
        *,
        name: str,
        block: int | None,
        strides: int = 1,
        padding: Padding = "symmetric",
        pad_name: str = "",
        initializer: str | keras.initializers.Initializer = "glorot_uniform",
    ) -> keras.KerasTensor:
        """One square filter per channel; arguments and result as ``conv``.

        The kernel is not regularized, as in the original and the MobileNet papers: it has few
        weights, and all of them are needed.
        """
        return keras.layers.DepthwiseConv2D(
            kernel,
            strides=strides,
            padding=_keras_padding(padding, strides),
            use_bias=self.config.use_bias,
            depthwise_initializer=initializer,
            trainable=block not in self.config.freeze_blocks,
            name=name,
        )(_padded(x, kernel, strides, padding, pad_name or f"{name}_pad"))

    def norm(
        self, x: keras.KerasTensor, *, name: str, epsilon: float = 1e-3, momentum: float = 0.99
    ) -> keras.KerasTensor:
        """Batch normalization that obeys ``freeze_bn``; its gamma and beta always train."""
        return BatchNormalization(
            frozen_statistics=self.config.freeze_bn, epsilon=epsilon, momentum=momentum, name=name
        )(x)

    def conv_bn(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        *,
        name: str,
        block: int | None,
        strides: int = 1,
        bn: str = "",
        activation: str | None = "relu",
        activation_name: str = "",
    ) -> keras.KerasTensor:
        """Convolution, normalization (``bn``, or ``NAME_bn``) and activation (``NAME_act``)."""
        x = self.conv(x, filters, kernel, name=name, block=block, strides=strides)
        x = self.norm(x, name=bn or f"{name}_bn")
        return self.activation(x, activation, name=activation_name or f"{name}_act")

    def activation(self, x: keras.KerasTensor, kind: str | None, *, name: str) -> keras.KerasTensor:
        """A Keras activation by name; None draws nothing."""
        return keras.layers.Activation(kind, name=name)(x) if kind else x

    def max_pool(
        self, x: keras.KerasTensor, size: int, *, strides: int, name: str
    ) -> keras.KerasTensor:
        """Max pool that rounds up: (B, h, w, C) to (B, ceil(h / strides), ceil(w / strides), C).

        Odd sizes are zero-padded alike on all sides, so they belong after a ReLU only.  Size 2
        takes a last odd row or column alone, where the original leaves it out: every backbone
        makes a map of the same size of the same image.
        """
        if padding := (size - 1) // 2:
            x = keras.layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        return keras.layers.MaxPooling2D(
            size, strides=strides, padding="valid" if padding else "same", name=name
        )(x)

    def dropout(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Drops single activations at the spec's ``dropout_rate``; draws nothing at rate 0."""
        rate = self.config.dropout_rate
        return keras.layers.Dropout(rate, name=name)(x) if rate else x

    def drop_branch(self, x: keras.KerasTensor, rate: float, *, name: str) -> keras.KerasTensor:
        """Drops the whole of a residual branch, for each image or RoI of its own.

        Draws nothing at rate 0.

        Source: Huang et al. 2016, https://arxiv.org/abs/1603.09382; EfficientNet's drop connect.
        """
        if not rate:
            return x
        return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)(x)

    def dense(
        self, x: keras.KerasTensor, units: int, *, name: str, activation: str | None = None
    ) -> keras.KerasTensor:
        """A regularized, biased dense layer."""
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_regularizer=self.config.kernel_regularizer,
            name=name,
        )(x)


def _keras_padding(padding: Padding, strides: int) -> str:
    # At stride 1 both kinds are the same, and Keras pads without a layer of its own.
    return "valid" if padding == "symmetric" and strides > 1 else "same"


def _padded(
    x: keras.KerasTensor, kernel: int, strides: int, padding: Padding, name: str
) -> keras.KerasTensor:
    if padding == "symmetric" and strides > 1 and kernel > 1:
        return keras.layers.ZeroPadding2D(kernel // 2, name=name)(x)
    return x
