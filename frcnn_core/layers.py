"""How backbones draw convolutions, normalisations and pools, with the spec's freezing rules.

Shape letters are those of ``frcnn_core.components``.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from frcnn_core.components import NoOptions


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
    options: object = NoOptions()

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

    def __init__(self, *, frozen_statistics: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.frozen_statistics = frozen_statistics

    def uses_batch_statistics(self, training: bool) -> bool:
        """Whether a call with this ``training`` flag normalises by the batch's own statistics."""
        return bool(training) and self.trainable and not self.frozen_statistics

    def affine(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale and offset (C,), float32, that equal this layer with its moving statistics."""
        scale = tf.math.rsqrt(self.moving_variance.value + self.epsilon)
        if self.scale:
            scale = scale * self.gamma.value
        offset = -self.moving_mean.value * scale
        return scale, offset + self.beta.value if self.center else offset

    def call(self, inputs, training=None, mask=None):
        if not self.uses_batch_statistics(training):
            scale, offset = self.affine()
            return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)
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

    def get_config(self):
        return {**super().get_config(), "frozen_statistics": self.frozen_statistics}

    def _move(self, statistic, value):
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
        use_bias: bool | None = None,
        activation: str | None = None,
    ) -> keras.KerasTensor:
        """A square convolution, zero-padded alike on all sides by ``kernel // 2``.

        At stride 2 that samples other pixels than Keras' ``same`` does; it is what the original
        and public ResNet weights use.

        Args:
            x: (B, h, w, C).
            block: freezing id of the kernel; None for a layer that cannot be frozen.
            use_bias: None for the spec's ``use_bias``.

        Returns:
            (B, ceil(h / strides), ceil(w / strides), filters), for odd kernels.
        """
        if strides > 1 and kernel > 1:
            x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        return keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            use_bias=self.config.use_bias if use_bias is None else use_bias,
            activation=activation,
            kernel_regularizer=self.config.kernel_regularizer,
            trainable=block not in self.config.freeze_blocks,
            name=name,
        )(x)

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
        """Max pool zero-padded alike on all sides by ``(size - 1) // 2``; after a ReLU only.

        Size 3 halves rounding up, size 2 rounding down, as the original does.
        """
        if padding := (size - 1) // 2:
            x = keras.layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        return keras.layers.MaxPooling2D(size, strides=strides, name=name)(x)

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
