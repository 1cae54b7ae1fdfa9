"""``frcnn dataset``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import click


@click.group()
def dataset() -> None:
    """Look at images and labels before training on them."""
