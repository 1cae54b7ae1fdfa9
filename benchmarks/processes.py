"""Runs what is measured in a process of its own, so that its memory is its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from frcnn_core.cli.terminal import load_tensorflow


def alone(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a function answers in a process of its own, whose peak memory is then its own."""
    # Linux lets a process begin with its parent's peak: this one never imports TensorFlow.
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=load_tensorflow
    ) as pool:
        return pool.submit(function, *arguments, **options).result()
