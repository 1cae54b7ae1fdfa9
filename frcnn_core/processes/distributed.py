"""The processes that train one detector together, each on a part of every batch.

This is the only module that calls Horovod's operations; ``cli/launcher.py`` starts processes with
its rendezvous server.  It works at the level of gradients: each process computes those of its own
images, all of them average, and each takes the same step.  So all hold the same variables at any
time, and a process alone is the same program with nothing to average.

Source: Sergeev and Del Balso 2018, https://arxiv.org/abs/1802.05799.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import tensorflow as tf

from frcnn_core.errors import FrcnnError, WorkerLost
from frcnn_core.processes.process import this_process

T = TypeVar("T")

LARGE = 4096
"""Elements from which a tensor is worth sending in 16 bits; biases and the like are no traffic."""


@dataclass(frozen=True)
class Workers:
    """The processes of a training, seen from one of them; as it is, the only one."""

    rank: int = 0
    """Of this process, from 0; the first one writes files and speaks to the user."""
    size: int = 1
    """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def average(
        self,
        tensors: Sequence[tf.Tensor],
        weight: tf.Tensor,
        *,
        sums: Sequence[tf.Tensor] = (),
        compressible: int = 0,
    ) -> list[tf.Tensor]:
        """Means over all processes, in one exchange; also inside a ``tf.function``.

        All processes get the same values, to the last bit.

        Args:
            tensors: floating point, of the same shapes everywhere.
            weight: () float32 from 0 to 1, this process's share, e.g. its number of images by
                that of a full batch.  Where it is 0 the values do not count, whatever they are;
                it is above 0 somewhere.
            sums: more tensors, which are added up instead, without weights.
            compressible: so many of the tensors, the first ones, may be sent in 16 bits.

        Returns:
            The means, and behind them the sums.
        """
        return [*tensors, *sums]

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Give variables the values that the first process has."""

    def gather(self, value: T) -> list[T]:
        """What all processes have, in the order of their ranks; any picklable value."""
        return [value]

    def share(self, value: T) -> T:
        """What the first process has; the others' values are not looked at."""
        return value

    def on_first(self, action: Callable[[], T]) -> T:
        """What ``action`` gives in the first process, which alone calls it; picklable.

        All wait until it is done.

        Raises:
            FrcnnError: the first process's, in all of them.
        """
        return action()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For a block that runs ``average`` in a ``tf.function``.

        Raises:
            WorkerLost: another process ended meanwhile.
        """
        yield


ALONE = Workers()
"""A training of one process."""


@dataclass(frozen=True)
class HorovodWorkers(Workers):
    """Processes that Horovod connects.  Every method has to be called by all of them alike.

    All methods raise WorkerLost where another process has ended.
    """

    horovod: Any = None
    """``horovod.tensorflow``, initialized."""
    compress: bool = False
    """Send what is compressible as float16.  Sums are taken in float16 too."""

    def average(
        self,
        tensors: Sequence[tf.Tensor],
        weight: tf.Tensor,
        *,
        sums: Sequence[tf.Tensor] = (),
        compressible: int = 0,
    ) -> list[tf.Tensor]:
        weight = tf.cast(weight, tf.float32)
        counts = weight > 0.0
        # Not only a product: 0 times NaN is NaN.
        weighted = [
            tf.where(counts, tf.cast(tensor, tf.float32) * weight, tf.zeros(tf.shape(tensor)))
            for tensor in tensors
        ]
        small = {
            place
            for place, tensor in enumerate(tensors)
            if not (self.compress and place < compressible)
            or (tensor.shape.num_elements() or 0) < LARGE
        }
        exact = [value for place, value in enumerate(weighted) if place in small]
        exact += [tf.cast(value, tf.float32) for value in (*sums, weight)]
        halves = [
            tf.cast(value, tf.float16) for place, value in enumerate(weighted) if place not in small
        ]
        # A group is reduced as a whole, in the order of its tensors, so that the order in which
        # gradients become ready has no say in how sums are rounded.
        with self.watching():
            whole = iter(self._sum(exact, _AVERAGE))
            half = iter(self._sum(halves, _AVERAGE_16_BITS) if halves else ())
        totals = [next(whole) if place in small else next(half) for place in range(len(tensors))]
        *added, weights = whole
        return [
            tf.cast(tf.cast(total, tf.float32) / weights, tensor.dtype)
            for total, tensor in zip(totals, tensors, strict=True)
        ] + [tf.cast(total, value.dtype) for total, value in zip(added, sums, strict=True)]

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        with self.watching():
            self.horovod.broadcast_variables(list(variables), root_rank=0)

    def gather(self, value: T) -> list[T]:
        with self.watching():
            return self.horovod.allgather_object(value, name=_GATHER)

    def share(self, value: T) -> T:
        with self.watching():
            return self.horovod.broadcast_object(value, root_rank=0, name=_SHARE)

    def on_first(self, action: Callable[[], T]) -> T:
        outcome: tuple[Any, FrcnnError | None] = (None, None)
        if self.is_first:
            try:
                outcome = (action(), None)
            except FrcnnError as error:
                self.share((None, error))
                raise
        value, problem = self.share(outcome)
        if problem is not None:
            raise problem
        return value

    @contextmanager
    def watching(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.UnknownError as error:
            # "Horovod has been shut down", or Gloo's or NCCL's words about one of these ops.
            if not any(name in error.message for name in ("Horovod", *_OPS)):
                raise
            raise WorkerLost(_LOST) from error

    def _sum(self, tensors: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        return self.horovod.grouped_allreduce(tensors, op=self.horovod.Sum, name=name)


def connect(*, compress: bool = False) -> Workers:
    """The processes of this training: those that a launcher started together, or this one alone.

    ``horovodrun`` starts processes with Gloo; ``mpirun`` and ``srun`` do where Horovod was built
    with MPI.  Returns once all processes are there.

    Args:
        compress: send large gradients in 16 bits.

    Raises:
        FrcnnError: there are several, but Horovod is not installed or cannot connect them.
    """
    process = this_process(os.environ)
    if process is None or process.size == 1:
        return ALONE
    expected = process.size
    try:
        import horovod.tensorflow as horovod
    except (ImportError, OSError, tf.errors.OpError) as error:
        raise FrcnnError(
            f"This is one of {expected} processes, but Horovod, which connects them, cannot be "
            f"imported: {error}\n  `make horovod` builds it; see docs/scaling.md."
        ) from error
    try:
        horovod.init()
    except Exception as error:  # Horovod's own, a TimeoutError, a ValueError of Gloo...
        raise FrcnnError(
            f"Horovod cannot connect the {expected} processes of this training: {error}"
        ) from error
    if horovod.size() != expected:
        raise FrcnnError(
            f"A launcher started {expected} processes, but Horovod connects {horovod.size()}: it "
            "was built without MPI, so mpirun and srun cannot start it. Take frcnn train --gpus "
            f"{expected}, or build Horovod with MPI; see docs/scaling.md."
        )
    return HorovodWorkers(
        rank=horovod.rank(),
        size=horovod.size(),
        horovod=horovod,
        compress=compress,
    )


_OPS = _AVERAGE, _AVERAGE_16_BITS, _GATHER, _SHARE = (
    "frcnn_average",
    "frcnn_average_16_bits",
    "frcnn_gather",
    "frcnn_share",
)
"""Names by which processes find out that they are at the same exchange."""

_LOST = (
    "Another process of this training ended, so this one cannot go on. What the other one said "
    "tells why. The checkpoints of earlier epochs are kept: resume_from_model takes them."
)
