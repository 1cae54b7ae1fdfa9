"""Weights to start from: read, given to the layers of a model, imported, and examined.

``reading`` and ``assignment`` serve ``pretrained_weights``, ``importing`` makes other libraries'
weights ours, and ``fingerprint`` tells whether weights compute what they were trained to compute.
"""

from frcnn_core.weights.assignment import LayerStatus, LoadReport, assign
from frcnn_core.weights.origin import Origin
from frcnn_core.weights.reading import read_origin, read_weights, write_weights

__all__ = [
    "LayerStatus",
    "LoadReport",
    "Origin",
    "assign",
    "read_origin",
    "read_weights",
    "write_weights",
]
