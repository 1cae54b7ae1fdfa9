"""The optimizers of the TLT spec, and AdamW: plugins like any other.

The learning rate schedule sets the rate before every step, so ``lr`` is only what an optimizer
starts with, and ``decay`` has no effect; both are there because TLT's specs have them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frcnn_core import Optimizer, hookimpl

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger(__name__)

_LR = {"help": "Starting rate; the learning rate schedule overrides it."}
_DECAY = {"help": "No effect: the learning rate schedule sets the rate."}


class Adam(Optimizer):
    """Kingma and Ba 2015, with the AMSGrad variant of Reddi et al. 2018."""

    name = "adam"
    summary = "Adam, optionally AMSGrad"

    @dataclass(frozen=True)
    class Options:
        lr: float = field(default=1e-3, metadata=_LR)
        beta_1: float = field(default=0.9, metadata={"help": "Decay of the mean of gradients."})
        beta_2: float = field(default=0.999, metadata={"help": "Decay of the mean of squares."})
        epsilon: float = field(default=1e-7, metadata={"help": "Keeps divisions finite."})
        decay: float = field(default=0.0, metadata=_DECAY)
        amsgrad: bool = field(default=False, metadata={"help": "Use AMSGrad."})

        def __post_init__(self) -> None:
            _check_rates(beta_1=self.beta_1, beta_2=self.beta_2)

    def build(self, options: Options) -> keras.optimizers.Optimizer:
        import keras

        _warn_about_decay(options.decay)
        return keras.optimizers.Adam(
            learning_rate=options.lr,
            beta_1=options.beta_1,
            beta_2=options.beta_2,
            epsilon=options.epsilon,
            amsgrad=options.amsgrad,
        )


class AdamW(Optimizer):
    """Loshchilov and Hutter 2019: Adam whose weight decay does not pass through the gradients.

    Biases and the gamma and beta of normalisation layers do not decay.
    """

    name = "adamw"
    summary = "Adam with decoupled weight decay"

    @dataclass(frozen=True)
    class Options:
        lr: float = field(default=1e-3, metadata=_LR)
        beta_1: float = field(default=0.9, metadata={"help": "Decay of the mean of gradients."})
        beta_2: float = field(default=0.999, metadata={"help": "Decay of the mean of squares."})
        epsilon: float = field(default=1e-7, metadata={"help": "Keeps divisions finite."})
        weight_decay: float = field(
            default=0.01, metadata={"help": "Part of a weight taken off per step, times the rate."}
        )

        def __post_init__(self) -> None:
            _check_rates(beta_1=self.beta_1, beta_2=self.beta_2)
            if self.weight_decay < 0:
                raise ValueError(f"weight_decay: {self.weight_decay:g} is negative.")

    def build(self, options: Options) -> keras.optimizers.Optimizer:
        import keras

        optimizer = keras.optimizers.AdamW(
            learning_rate=options.lr,
            beta_1=options.beta_1,
            beta_2=options.beta_2,
            epsilon=options.epsilon,
            weight_decay=options.weight_decay,
        )
        # Keras searches the pattern in the name of the TensorFlow variable, e.g. "gamma:0".
        optimizer.exclude_from_weight_decay(var_names=[r"(^|/)(bias|gamma|beta)(:\d+)?$"])
        return optimizer


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum."""

    name = "sgd"
    summary = "stochastic gradient descent with momentum, optionally Nesterov's"

    @dataclass(frozen=True)
    class Options:
        lr: float = field(default=1e-2, metadata=_LR)
        momentum: float = field(default=0.9, metadata={"help": "Part of the last update kept."})
        decay: float = field(default=0.0, metadata=_DECAY)
        nesterov: bool = field(default=False, metadata={"help": "Use Nesterov's momentum."})

        def __post_init__(self) -> None:
            _check_rates(momentum=self.momentum)

    def build(self, options: Options) -> keras.optimizers.Optimizer:
        import keras

        _warn_about_decay(options.decay)
        return keras.optimizers.SGD(
            learning_rate=options.lr, momentum=options.momentum, nesterov=options.nesterov
        )


class RmsProp(Optimizer):
    """Tieleman and Hinton 2012: gradients divided by a running root mean square."""

    name = "rmsprop"
    summary = "gradients divided by a running root mean square"

    @dataclass(frozen=True)
    class Options:
        lr: float = field(default=1e-3, metadata=_LR)
        rho: float = field(default=0.9, metadata={"help": "Decay of the mean of squares."})
        epsilon: float = field(default=1e-7, metadata={"help": "Keeps divisions finite."})

        def __post_init__(self) -> None:
            _check_rates(rho=self.rho)

    def build(self, options: Options) -> keras.optimizers.Optimizer:
        import keras

        return keras.optimizers.RMSprop(
            learning_rate=options.lr, rho=options.rho, epsilon=options.epsilon
        )


def _check_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{name}: {rate:g} is not in [0, 1).")


def _warn_about_decay(decay: float) -> None:
    if decay:
        _LOG.warning("decay: %g has no effect; the learning rate schedule sets the rate.", decay)


@hookimpl
def frcnn_register_optimizers() -> list[Optimizer]:
    return [Adam(), AdamW(), Sgd(), RmsProp()]
