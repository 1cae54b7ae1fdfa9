"""Takes channels out of a detector's graphs, with all that belongs to them."""

from frcnn_core.pruning.channels import ChannelGroup, Channels, find_channels
from frcnn_core.pruning.rebuild import positions, rebuild

__all__ = ["ChannelGroup", "Channels", "find_channels", "positions", "rebuild"]
