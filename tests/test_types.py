"""What type checkers see of frcnn, here and in somebody else's plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import Distribution

ROOT = Path(__file__).parents[1]

PLUGIN = """
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frcnn_core import Accumulator, Backbone, Metric, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from frcnn_core.detector import Blocks


class TinyNet(Backbone):
    name = "tinynet"
    freeze_ids = range(0, 4)

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        return blocks.conv_bn(images, 8, 3, name="conv", block=0, strides=16)

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        import keras

        return keras.layers.GlobalAveragePooling2D(name="head_pool")(rois)


class Counting(Metric):
    name = "counting"

    def start(
        self,
        class_names: Sequence[str],
        *,
        iou_thresholds: Sequence[float],
        score_threshold: float,
    ) -> Accumulator:
        raise NotImplementedError


@hookimpl
def frcnn_register_backbones() -> list[Backbone]:
    return [TinyNet()]
"""

SETTINGS = """
[mypy]
check_untyped_defs = True
disallow_untyped_defs = True

[mypy-keras.*]
follow_untyped_imports = True
"""
"""What docs/writing-plugins.md says an author needs."""


def shipped(package: str) -> set[str]:
    """The files of a package that are put into a wheel beside its modules."""
    distribution = Distribution()
    distribution.parse_config_files()
    distribution.include_package_data = False  # else it asks git, by way of an .egg-info
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    return {
        str(Path(source, file).relative_to(Path(source).parents[package.count(".")]))
        for name, source, _, files in command.data_files
        if name == package
        for file in files
    }


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_a_wheel_says_of_every_package_that_it_has_types(at_root):
    packages = [ROOT / "frcnn_core", *ROOT.glob("plugins/*/frcnn_*")]
    assert len(packages) > 10
    for path in packages:
        assert "py.typed" in {Path(file).name for file in shipped(path.name)}, path


def test_a_wheel_has_the_faces_that_name_what_rooms_import_on_demand(at_root):
    faces = {str(path.relative_to(ROOT)) for path in ROOT.glob("frcnn_core/*/__init__.pyi")}
    assert len(faces) > 5
    assert faces <= shipped("frcnn_core")


@pytest.mark.slow
def test_a_plugin_whose_types_are_right_passes_and_what_is_wrong_is_told(tmp_path):
    """One run for all, since it reads Keras and frcnn first."""
    wrong = {
        "wrong_result": ("return [TinyNet()]", "return [Counting()]", "List item 0 has"),
        "wrong_map": (
            'return blocks.conv_bn(images, 8, 3, name="conv", block=0, strides=16)',
            "return blocks.config",
            "Incompatible return value type",
        ),
        "wrong_signature": (
            "def features(self, images: keras.KerasTensor, blocks: Blocks)",
            "def features(self, images: keras.KerasTensor)",
            'Signature of "features" incompatible with supertype',
        ),
        "wrong_start": ("-> Accumulator:", "-> int:", 'Return type "int" of "start"'),
        "wrong_field": ("freeze_ids = range(0, 4)", "freeze_ids = [0, 1]", "Incompatible types"),
    }
    (tmp_path / "right.py").write_text(PLUGIN)
    for name, (right, instead, _) in wrong.items():
        assert right in PLUGIN
        (tmp_path / f"{name}.py").write_text(PLUGIN.replace(right, instead))
    (tmp_path / "settings.ini").write_text(SETTINGS)
    # mypy does not find what was installed with -e, and of what is installed it tells nothing.
    words = ["--config-file", "settings.ini", "--follow-imports", "silent"]
    files = ["right.py", *(f"{name}.py" for name in wrong)]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *words, *files],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = run.stdout.splitlines()
    assert run.returncode == 1, run.stdout + run.stderr
    assert not [line for line in told if line.startswith("right.py")]
    for name, (_, _, message) in wrong.items():
        assert [line for line in told if line.startswith(f"{name}.py") and message in line], told
