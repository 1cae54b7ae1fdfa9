"""``frcnn dataset``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import click

from frcnn_core.cli.dataset_labels import labels
from frcnn_core.cli.dataset_show import show
from frcnn_core.cli.dataset_stats import stats
from frcnn_core.cli.dataset_validate import validate


@click.group()
def dataset() -> None:
    """Look at images and labels before training on them."""


dataset.add_command(labels)
dataset.add_command(validate)
dataset.add_command(stats)
dataset.add_command(show)
