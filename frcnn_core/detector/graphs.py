"""What is in a Keras graph, in the order that data flows.

Keras draws graphs and runs them, but offers no way to walk through one; this reads what it keeps
for itself.  ``folding.py`` runs graphs by it, others follow channels, cells or ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses


def nodes(graph: keras.Model) -> Iterator[Any]:
    """The graph's calls of layers, each after those it depends on."""
    by_depth = graph._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def leaves(graph: keras.Model, path: str) -> Iterator[tuple[str, keras.Layer]]:
    """Every layer by ``part/layer``, those of functional models in the graph in place of these.

    Args:
        path: of the graph, before the names of its layers.
    """
    for layer in graph.layers:
        name = f"{path}/{layer.name}"
        if type(layer) is Functional:
            yield from leaves(layer, name)
        else:
            yield name, layer
