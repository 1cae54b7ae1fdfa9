"""Where the public weights of DarkNet 19 and 53 go: those of the program Darknet."""

from __future__ import annotations

from collections.abc import Iterator

from frcnn_core import ImportPlan, Unit
from frcnn_core.plugin.import_plan import DARKNET
from frcnn_darknet.network import DARKNET_19, DARKNET_53


def darknet_plan(variant: str) -> ImportPlan:
    """Darknet's files hold the layers in order and without names; what follows is a classifier.

    Source: ``normalize_kernel`` in Darknet's ``blas_kernels.cu``, for the epsilon.
    """
    names = _plain_names() if variant == "19" else _residual_names()
    return ImportPlan(
        units=tuple(Unit(name, f"{name}_bn") for name in names),
        images=DARKNET,
        epsilon=1e-6,
        epsilon_of_deviation=True,
    )


def _plain_names() -> Iterator[str]:
    yield "conv1"
    for stage, convolutions in enumerate(DARKNET_19, start=1):
        for number in range(1, len(convolutions) + 1):
            yield f"b{stage}_conv{number}"


def _residual_names() -> Iterator[str]:
    yield "conv1"
    for stage, units in enumerate(DARKNET_53, start=1):
        yield f"conv{stage + 1}"
        for unit in range(1, units + 1):
            yield f"b{stage}_conv{unit}_1"
            yield f"b{stage}_conv{unit}_2"
