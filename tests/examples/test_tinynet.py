"""The example of a third-party backbone from installation to an exported, pruned detector.

Everything is done as its users would: with commands, and a script where there is no command.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy

from frcnn_core.plugin.discovery import installed as installed_plugins

pytestmark = pytest.mark.slow

TINYNET = Path(__file__).parents[2] / "examples" / "frcnn-backbone-tinynet"

PRUNE = """
import json
import sys
from pathlib import Path

from frcnn_core import assemble
from frcnn_core.plugin import arch
from frcnn_core.model_files import archive
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.plugin.discovery import installed
from frcnn_core.pruning import find_channels, rebuild

source, target = map(Path, sys.argv[1:])
plugins = installed()
model = assemble.open_model(source, "", plugins)
backbone, _ = arch.resolve(model.arch, plugins.backbones)
detector, before = model.detector, model.num_parameters

channels = find_channels(detector.parts, fixed=backbone.unprunable)
keep = {group: range(0, group.size, 2) for group in channels.groups if group.prunable}
parts = rebuild(detector.parts, channels, keep, custom_layers=backbone.custom_layers())
model.detector = FasterRCNN(
    **parts, anchors=detector.anchors, regression_scale=detector.regression_scale
)
archive.write(target, model.to_archive())
print(json.dumps({"before": before, "after": model.num_parameters}))
"""
"""Takes every second channel of each group."""

EPOCHS = 6
"""Of many scenes: an epoch costs a second whatever is in it."""

EXPORTERS = [
    entry.component.name
    for entry in installed_plugins().exporters
    if not entry.missing and not entry.component.runs_elsewhere
]
"""Those whose files can run here."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder that pip installed tinynet into."""
    # pip builds in the source tree, so it gets a copy.
    source = tmp_path_factory.mktemp("source") / TINYNET.name
    shutil.copytree(
        TINYNET, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    target = tmp_path_factory.mktemp("site")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    run(target, *pip, "--disable-pip-version-check", "--target", target, source)
    return target


@pytest.fixture(scope="module")
def frcnn(site):
    """Run an ``frcnn`` command with tinynet installed, and return what it prints."""

    def frcnn(*arguments) -> str:
        return run(site, "-c", "from frcnn_core.cli import main; main()", *arguments)

    return frcnn


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 160, seed=0)
    toy.write_scenes(folder, "val", 8, seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(frcnn, scenes, tmp_path_factory) -> Path:
    """A model file, trained until it finds something."""
    folder = tmp_path_factory.mktemp("trained")
    frcnn("train", "-e", spec_file(folder, scenes), "-r", folder)
    return folder / f"frcnn_tinynet.epoch_{EPOCHS}.tlt"


@pytest.fixture(scope="module")
def pruned(site, trained) -> tuple[Path, dict[str, int]]:
    """That model with half of its channels, and its number of parameters before and after."""
    path = trained.with_name("pruned.tlt")
    return path, json.loads(run(site, "-c", PRUNE, trained, path))


@pytest.fixture(scope="module")
def retrained(frcnn, scenes, pruned, tmp_path_factory) -> tuple[Path, str]:
    """The pruned model trained again, and what that printed."""
    folder = tmp_path_factory.mktemp("retrained")
    spec = spec_file(folder, scenes, training=f'retrain_pruned_model: "{pruned[0]}"')
    printed = frcnn("train", "-e", spec, "-r", folder)
    return folder / f"frcnn_tinynet.epoch_{EPOCHS}.tlt", printed


@pytest.fixture(scope="module")
def mAP_retrained(frcnn, scenes, retrained, tmp_path_factory) -> float:
    return evaluated(frcnn, scenes, retrained[0], tmp_path_factory.mktemp("evaluated"))["mAP"]


def run(site: Path, *command) -> str:
    """Run Python with what is in ``site`` beside everything that is installed."""
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def spec_file(folder: Path, scenes: Path, *, training: str = "") -> Path:
    """A spec for tinynet, whose exports detect as ``frcnn evaluate`` does."""
    text = toy.spec_text(
        scenes,
        epochs=EPOCHS,
        training=training,
        validation=toy.validated_on(scenes, "val"),
        period=EPOCHS,
    ).replace('arch: "toy"', 'arch: "tinynet"')
    assert "tinynet" in text
    evaluation = text[text.index("evaluation_config") :].replace("evaluation", "inference", 1)
    inference = "\n".join(line for line in evaluation.splitlines() if "validation" not in line)
    path = folder / "spec.txt"
    path.write_text(text + inference)
    return path


def evaluated(frcnn, scenes: Path, model: Path, folder: Path) -> dict:
    """What ``frcnn evaluate`` finds about a model, or an export, with its one metric."""
    spec, path = spec_file(folder, scenes), folder / "evaluation.json"
    frcnn("evaluate", "-e", spec, "-m", model, "-k", "key", "--json", path, "--overwrite")
    found = json.loads(path.read_text())
    assert found["num_images"] == 8
    return found["metrics"]["voc12"]


def test_half_of_the_channels_are_less_than_half_of_the_parameters(pruned):
    _, parameters = pruned
    assert 0 < parameters["after"] < parameters["before"] / 2


def test_a_pruned_model_is_evaluated_like_any_other(frcnn, scenes, pruned, tmp_path):
    path, _ = pruned
    (table,) = evaluated(frcnn, scenes, path, tmp_path)["tables"]
    assert table["classes"].keys() == {"blue", "red"}
    assert sum(found["detections"] for found in table["classes"].values()) > 0


def test_a_pruned_model_is_retrained_and_finds_more(
    frcnn, scenes, pruned, retrained, mAP_retrained, tmp_path
):
    (path, parameters), (_, printed) = pruned, retrained
    assert f"Network: tinynet, {parameters['after']:,} parameters" in printed
    assert mAP_retrained > 0.5 > evaluated(frcnn, scenes, path, tmp_path)["mAP"]


@pytest.mark.parametrize(
    "exporter",
    [
        pytest.param(name, marks=() if name == "onnx" else pytest.mark.conformance)
        for name in EXPORTERS
    ],
)
def test_an_export_of_it_detects_what_it_detects(
    exporter, frcnn, scenes, retrained, mAP_retrained, tmp_path
):
    model, _ = retrained
    output = tmp_path / f"exported.{exporter}"
    frcnn("export", exporter, "-m", model, "-k", "key", "-o", output)
    found = evaluated(frcnn, scenes, output, tmp_path)
    assert found["mAP"] == pytest.approx(mAP_retrained, abs=0.01)
