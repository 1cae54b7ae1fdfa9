"""Takes channels out of a detector's graphs, with all that belongs to them."""

from frcnn_core.pruning.channels import ChannelGroup, Channels, find_channels
from frcnn_core.pruning.plan import DEFAULT_THRESHOLD, Criterion, Plan
from frcnn_core.pruning.prune import check_layer_names, prune
from frcnn_core.pruning.rebuild import positions, rebuild

__all__ = [
    "DEFAULT_THRESHOLD",
    "ChannelGroup",
    "Channels",
    "Criterion",
    "Plan",
    "check_layer_names",
    "find_channels",
    "positions",
    "prune",
    "rebuild",
]
