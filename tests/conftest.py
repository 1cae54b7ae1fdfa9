"""Fixtures of more than one test file."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import conversions
import pytest

from frcnn_core.plugin.discovery import Plugins

# TensorFlow's own allocator on a CPU returns nothing to the system: each of two workers ended with
# 10 GB.  With the system's, test_vgg.py ends with 0.9 GB in place of 2.7.  TensorFlow reads this
# when it first allocates, here and in the processes of tests.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "true")


class Site:
    """A folder on the import path, into which tiny distributions are put as pip would."""

    def __init__(self, folder: Path):
        self.folder = folder

    def install(
        self,
        distribution: str,
        plugin: str,
        code: str,
        *,
        module: str = "",
        requires: str = "",
        api: str = "",
    ) -> None:
        """Put in a distribution with one plugin.

        Args:
            distribution: name and version, e.g. ``acme 1.0``.
            plugin: name of the entry point.
            code: of the module.
            module: its name; made from the distribution's unless given.
            requires: what it says it needs, e.g. ``frcnn>=0.1``.
            api: the version of the plugin API it says it is for, e.g. ``v1``.
        """
        name, version = distribution.split()
        module = module or f"plugin_of_{name.replace('-', '_')}"
        self.folder.joinpath(f"{module}.py").write_text(code)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + (f"Requires-Dist: {requires}\n" if requires else "")
        )
        info.joinpath("entry_points.txt").write_text(
            f"[frcnn]\n{plugin} = {module}\n" + (f"[frcnn.api]\nversion = {api}\n" if api else "")
        )

    def plugins(self, **kwargs) -> Plugins:
        """What is in this folder, and nothing else."""
        found = [
            entry_point
            for distribution in distributions(path=[str(self.folder)])
            for entry_point in distribution.entry_points.select(group="frcnn")
        ]
        return Plugins(found, **kwargs)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run Python with this folder on its path beside everything that is installed."""
        return subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
            capture_output=True,
            text=True,
        )


@pytest.fixture
def site(tmp_path, monkeypatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    known = set(sys.modules)
    yield Site(folder)
    for module in set(sys.modules) - known:
        if module.startswith("plugin_of_"):
            del sys.modules[module]


@pytest.fixture(scope="session")
def tiny_model():
    """A ``Model`` of two classes and 32 x 48 pixels with a few random layers, no backbone's."""
    import keras

    from frcnn_core.data.preprocessing import Preprocessing
    from frcnn_core.detector.anchors import Anchors
    from frcnn_core.detector.faster_rcnn import FasterRCNN
    from frcnn_core.model_files.model import Model

    keras.utils.set_random_seed(1)
    spread = keras.initializers.RandomNormal(stddev=0.05)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 16, 16, padding="same", kernel_initializer=spread)(images)
    features = keras.Model(images, x)
    cells = keras.Input((None, None, 4))
    objectness = keras.layers.Conv2D(2, 1, kernel_initializer=spread)(cells)
    deltas = keras.layers.Conv2D(8, 1)(cells)
    crops = keras.Input((3, 3, 4))
    vector = keras.layers.Flatten()(crops)
    classes = keras.layers.Dense(3, kernel_initializer=spread)(vector)
    refinements = keras.layers.Dense(8)(vector)
    return Model(
        detector=FasterRCNN(
            features,
            keras.Model(cells, [objectness, deltas]),
            keras.Model(crops, [classes, refinements]),
            anchors=Anchors(scales=(12.0, 24.0), ratios=(1.0,)),
        ),
        class_names=("car", "person"),
        preprocessing=Preprocessing(
            height=32, width=48, channel_order="bgr", means=(10.0, 20.0, 30.0), scale=50.0
        ),
        arch="resnet:10",
        spec="",
    )


@pytest.fixture(autouse=True)
def equal_parts_are_converted_once():
    """To ONNX: the same tiny network, which is exported in a hundred tests, takes seconds each."""
    if parts := sys.modules.get("frcnn_onnx.parts"):
        conversions.keep(parts)


@pytest.fixture(scope="module", autouse=True)
def as_in_a_new_process():
    """A file of tests leaves neither memory nor settings of TensorFlow to the next one.

    TensorFlow's functions refer to themselves and to their weights, gigabytes in a whole run.  A
    training that ran in this process has set that TensorFlow adds up in order, and so other
    operations are built, for the losses among others.
    """
    yield
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
    if config := sys.modules.get("tensorflow.python.framework.config"):
        config.disable_op_determinism()
