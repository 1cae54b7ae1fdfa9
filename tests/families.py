"""Which families of backbones `make test` goes through where a test goes through them all."""

from __future__ import annotations

from collections.abc import Collection

import pytest

SHOWN = ("mobilenet_v2", "resnet")
"""Of depthwise and of plain convolutions.  The others are `make conformance`'s."""


def marks_of(name: str) -> Collection[pytest.MarkDecorator]:
    """For ``pytest.param``, given the name of a family."""
    return () if name in SHOWN else (pytest.mark.conformance,)
