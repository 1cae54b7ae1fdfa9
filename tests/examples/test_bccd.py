"""The blood-cell example, cut short: it must learn to see real cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/bccd"
BCCD = Path(os.environ.get("FRCNN_BCCD", ROOT.parent / "shared/data/bccd"))

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not BCCD.is_dir(), reason=f"no blood-cell set at {BCCD}; set FRCNN_BCCD"),
]

SHORTER = {
    'arch: "resnet:18"': 'arch: "resnet:10"',
    "height: 360 width: 480": "height: 240 width: 320",
    "output_image_height: 360": "output_image_height: 240",
    "output_image_width: 480": "output_image_width: 320",
    "scale: [32.0, 64.0, 128.0]": "scale: [24.0, 48.0, 96.0]",
}
"""What makes the example's spec quicker."""
EPOCHS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example's specs for a fifth of the images, converted."""
    out = tmp_path_factory.mktemp("bccd")
    split = run([sys.executable, EXAMPLE / "split.py", BCCD])
    names = {part: frames[::3] for part, frames in json.loads(split).items()}
    (out / "split.json").write_text(json.dumps(names))
    for name in ("convert.txt", "train.txt"):
        text = (EXAMPLE / name).read_text().replace("@DATA@", str(BCCD)).replace("@OUT@", str(out))
        (out / name).write_text(text)
    frcnn("dataset_convert", "-d", out / "convert.txt", "-o", out / "tfrecords/bccd")
    return out


def run(command) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def frcnn(*arguments) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def shortened(spec: str) -> str:
    for long, short in SHORTER.items():
        assert long in spec, f"{long} is not in the example's spec"
        spec = spec.replace(long, short)
    return spec + (
        f"training_config {{ num_epochs: {EPOCHS} }}\n"
        f"evaluation_config {{ validation_period_during_training: {EPOCHS} }}\n"
    )


def test_the_published_split_has_all_its_images():
    names = json.loads(run([sys.executable, EXAMPLE / "split.py", BCCD]))
    assert {part: len(frames) for part, frames in names.items()} == {"trainval": 292, "test": 72}


def test_a_short_training_learns_to_see_red_blood_cells(folder):
    (folder / "short.txt").write_text(shortened((folder / "train.txt").read_text()))
    frcnn("train", "-e", folder / "short.txt", "-r", folder / "results")
    lines = [json.loads(line) for line in (folder / "results/status.json").open()]
    epochs = [line for line in lines if "epoch" in line]
    losses = [line["graphical"]["loss"] for line in epochs]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    output = frcnn(
        *("evaluate", "-e", folder / "short.txt", "--json", folder / "evaluation.json"),
        *("-m", folder / f"results/frcnn_resnet_10.epoch_{EPOCHS}.tlt"),
    )
    assert "mAP@0.5" in output
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    classes = metrics["voc12"]["tables"][0]["classes"]
    # An untrained network has an AP below 0.01.
    assert classes["rbc"]["AP"] > 0.25


def test_the_curve_has_a_row_for_each_validation(folder):
    status = folder / "results/status.json"
    table = run([sys.executable, EXAMPLE / "curve.py", status]).splitlines()
    assert table[0].split() == ["minutes", "epoch", "AP@0.5", "COCO", "AP"]
    assert [row.split()[1] for row in table[1:]] == [str(EPOCHS)]


def test_half_of_the_parameters_do_as_well_after_retraining(folder):
    """The example of pruning, with its script's commands, on the model of the short training."""
    model = folder / f"results/frcnn_resnet_10.epoch_{EPOCHS}.tlt"
    script = (ROOT / "examples/prune/reproduce.sh").read_text()
    assert 'frcnn prune -m "$model" -o "$out/pruned.tlt" --target-ratio 0.5' in script
    frcnn(
        *("prune", "-m", model, "-o", folder / "pruned.tlt", "--target-ratio", "0.5"),
        *("--json", folder / "pruned.json"),
    )
    report = json.loads((folder / "pruned.json").read_text())
    assert report["after"]["parameters"] <= 0.5 * report["before"]["parameters"]
    (folder / "retrain.txt").write_text(
        (folder / "short.txt").read_text()
        + f'training_config {{ retrain_pruned_model: "{folder / "pruned.tlt"}" }}\n'
    )
    frcnn("train", "-e", folder / "retrain.txt", "-r", folder / "retrained")
    before, after = (
        [json.loads(line) for line in (folder / name / "status.json").open()][-2]["kpi"]["voc12"]
        for name in ("results", "retrained")
    )
    assert after > before - 0.02
