"""Modules by the names they had before they were put into rooms (frcnn 0.1).

Plugins import some of them.  An old name goes on working, with a ``DeprecationWarning`` that tells
the new one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ROOMS = {
    "data": "exif label_files labels preprocessing",
    "detector": (
        "anchors convolution extents flops folding graphs layers losses matching placement "
        "precision proposals quantized_layers roi_pooling"
    ),
    "evaluation": "original_pixels scoring triage",
    "export": "comparison verification",
    "inference": "drawing",
    "model_files": (
        "archive checkpoints darknet_files encryption formats keras_files model torch_files"
    ),
    "plugin": (
        "arch compatibility components conformance hookspecs import_plan int8 label_formats "
        "options registry"
    ),
    "processes": "cores distributed process",
    "training": "status tensorboard",
}
NOW = {old: f"{room}.{old}" for room, names in _ROOMS.items() for old in names.split()} | {
    "calibration": "training.statistics",
    "contact_sheet": "inference.sheet",
    "plugins": "plugin.discovery",
    "training_log": "training.log",
}
"""Old name -> new one, both below ``frcnn_core``.

Not here: ``detector``, ``evaluation``, ``inference`` and ``training``, each now a room that hands
on what the module had.
"""


class _Finder(MetaPathFinder):
    """Asked last, so only for what is not there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != __package__ or name not in NOW:
            return None
        return ModuleSpec(fullname, _Loader(f"{package}.{NOW[name]}"))


class _Loader(Loader):
    """Makes a module that has whatever the one of the new name has."""

    def __init__(self, new: str):
        self._new = new

    def exec_module(self, module: ModuleType) -> None:
        # 2: of the import statement; frames of the import system are not counted.
        warnings.warn(f"{module.__name__} is now {self._new}.", DeprecationWarning, stacklevel=2)
        moved = import_module(self._new)
        module.__doc__ = moved.__doc__
        module.__getattr__ = lambda name: getattr(moved, name)  # type: ignore[method-assign]
        module.__dir__ = lambda: dir(moved)  # type: ignore[method-assign]


def forward() -> None:
    """Let old names be imported, in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
