"""Modules by their old names."""

import subprocess
import sys
from importlib import import_module

import pytest

from frcnn_core import moved


@pytest.mark.parametrize("old", moved.NOW)
def test_an_old_name_is_the_module_of_the_new_one(old):
    sys.modules.pop(f"frcnn_core.{old}", None)
    with pytest.warns(DeprecationWarning, match=rf"frcnn_core\.{old} is now") as caught:
        module = import_module(f"frcnn_core.{old}")
    now = import_module(f"frcnn_core.{moved.NOW[old]}")
    public = [name for name in vars(now) if not name.startswith("__")]
    assert public and all(getattr(module, name) is getattr(now, name) for name in public)
    assert dir(module) == dir(now)
    assert str(caught[0].message).endswith(f"{now.__name__}.")


def test_the_warning_names_the_line_that_imports(tmp_path):
    script = tmp_path / "plugin.py"
    script.write_text("\n\nfrom frcnn_core.labels import Object\n")
    run = subprocess.run(
        [sys.executable, "-W", "always", script], capture_output=True, text=True, check=True
    )
    assert f"{script}:3: DeprecationWarning: frcnn_core.labels is now" in run.stderr


def test_a_name_that_never_was_is_still_an_import_error():
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        import_module("frcnn_core.nonsense")


@pytest.mark.parametrize(
    "room, names",
    [
        ("detector", "FasterRCNN TrainingSettings DetectionSettings draw"),
        ("evaluation", "EvaluationReport evaluate"),
        ("inference", "find_images infer read_image stack InputImage DetectionWriter"),
        ("training", "Trainer Progress EarlyStopping StepDone EpochDone Interrupted"),
    ],
)
def test_a_room_that_was_a_module_hands_on_what_that_had(room, names):
    module = import_module(f"frcnn_core.{room}")
    assert all(hasattr(module, name) for name in names.split())
