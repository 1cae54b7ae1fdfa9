"""``frcnn train`` as typed, on a toy detector."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy
from click.testing import CliRunner

from frcnn_core.cli import main
from frcnn_core.sample_data import generate

SGD = "sgd { momentum: 0.9 }"
"""Built more quickly than Adam."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 6, seed=0, empty=1)
    toy.write_scenes(folder, "val", 4, seed=1)
    return folder


@pytest.fixture(autouse=True)
def toy_is_installed(monkeypatch):
    monkeypatch.setattr("frcnn_core.plugin.installed", toy.plugins)


def spec_file(tmp_path, scenes, **given):
    path = tmp_path / "spec.txt"
    path.write_text(toy.spec_text(scenes, **given))
    return path


def train(*arguments):
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


@pytest.mark.slow
def test_two_runs_of_a_real_network_give_the_same_bytes(tmp_path):
    """Large enough that threads share the sums; a process each, since determinism is global."""
    data, spec = tmp_path / "street", tmp_path / "spec.txt"
    generate(data, 2, num_test_images=0, width=320, height=192)
    text = (data / "train_spec.txt").read_text()
    assert "validation_fold: 0" in text
    quick = "training_config { num_epochs: 1 checkpoint_interval: 1 }"
    spec.write_text(text.replace("validation_fold: 0", "") + quick)
    words = ["dataset_convert", "-d", data / "dataset_spec.txt", "-o", data / "tfrecords/street"]
    assert CliRunner().invoke(main, list(map(str, words))).exit_code == 0

    code = "from frcnn_core.cli import main; main()"
    for run in ("first", "second"):
        command = [sys.executable, "-c", code, "train", "-e", spec, "-r", tmp_path / run]
        subprocess.run(command, check=True, capture_output=True)
    name = "frcnn_resnet_10.epoch_1.tlt"
    first, second = ((tmp_path / run / name).read_bytes() for run in ("first", "second"))
    assert first == second


@pytest.fixture(scope="module")
def validated(scenes, tmp_path_factory):
    """A training on six scenes that is validated on four, of which one is no image; its folder."""
    folder = tmp_path_factory.mktemp("validated")
    toy.write_scenes(folder, "val", 4, seed=1)
    (folder / "images" / "val_3.png").write_bytes(b"no image")
    validation = toy.validated_on(folder, "val")
    spec = spec_file(folder, scenes, epochs=2, period=2, validation=validation, optimizer=SGD)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("frcnn_core.plugin.installed", toy.plugins)
        return train("-e", spec, "-r", folder / "results"), folder


@pytest.mark.slow
def test_it_trains_validates_and_tells_in_plain_lines(validated):
    result, folder = validated
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert re.match(r"Network: toy, [\d,]+ parameters, float32", lines[0])
    assert "Training: 6 images; objects: blue" in result.output
    assert "  1 images have no object of these classes." in lines
    assert "Validation: 4 images, 4 objects" in lines
    assert re.search(r"^Epoch 1/2: 6/6 images, .* loss \d", result.output, re.M)
    assert re.search(r"^Epoch 2/2: rpn_class \d", result.output, re.M)
    assert "mAP@0.5" in result.output
    assert f"Final model: {folder}/results/frcnn_toy.epoch_2.tlt" in lines
    assert re.search(rf"^Best model: {folder}/.* \(epoch 2, mAP \d\.\d{{4}}\)", result.output, re.M)
    assert "\x1b" not in result.output and "\r" not in result.output
    status = (folder / "results" / "status.json").read_text()
    assert "SUCCESS" in status.splitlines()[-1]


@pytest.mark.slow
def test_bad_validation_images_are_skipped_too(validated):
    result, _ = validated
    assert result.exit_code == 0, result.output
    assert "1 image could not be used" in result.output
    assert "mAP@0.5" in result.output


def test_without_a_place_for_the_model_it_says_what_to_type(scenes, tmp_path):
    result = train("-e", spec_file(tmp_path, scenes))
    assert result.exit_code == 2
    assert "Give a folder with -r, or training_config.output_model." in result.output


def test_flags_that_do_not_fit_are_refused_before_anything_is_made(scenes, tmp_path):
    spec = spec_file(tmp_path, scenes)
    result = train("-e", spec, "-r", tmp_path / "results", "--gpus", "3", "-np", "2")
    assert result.exit_code == 2
    assert "--gpus 3 is not a multiple of --num_processes 2" in result.output
    assert not (tmp_path / "results").exists()


def test_several_processes_without_horovod_are_refused_with_how_to_get_it(
    scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr("frcnn_core.cli.launcher.find_spec", lambda name: None)
    result = train("-e", spec_file(tmp_path, scenes), "-r", tmp_path / "results", "--gpus", "2")
    assert result.exit_code == 2
    assert "needs Horovod" in result.output and "make horovod" in result.output
    assert not (tmp_path / "results").exists()


def test_mistakes_in_the_spec_are_told_before_anything_is_made(scenes, tmp_path):
    spec = spec_file(tmp_path, scenes, training="rpn_min_overlap: 3")
    result = train("-e", spec, "-r", tmp_path / "results")
    assert result.exit_code == 2
    assert "training_config.rpn_min_overlap: 3 is not" in result.output
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_run_does_not_overwrite_the_checkpoints_of_another(scenes, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "frcnn_toy.epoch_1.tlt").write_text("of another run")
    result = train("-e", spec_file(tmp_path, scenes), "-r", results)
    assert result.exit_code == 2
    assert "Choose another folder with -r" in result.output
    assert (results / "frcnn_toy.epoch_1.tlt").read_text() == "of another run"


@pytest.fixture
def spoilt(tmp_path):
    """Six scenes to train on, of which one is cut short and one is gone."""
    folder = tmp_path / "spoilt"
    toy.write_scenes(folder, "train", 6, seed=0)
    damaged, missing = (folder / "images" / f"train_{i}.png" for i in (2, 4))
    damaged.write_bytes(damaged.read_bytes()[:100])
    missing.unlink()
    return folder, damaged, missing


@pytest.mark.slow
def test_bad_images_are_named_once_counted_and_skipped(spoilt, tmp_path):
    folder, damaged, missing = spoilt
    spec = spec_file(tmp_path, folder, epochs=2, optimizer=SGD)
    result = train("-e", spec, "-r", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert result.output.count(f"{damaged}: not a JPEG or PNG image, or damaged") == 1
    assert result.output.count(f"{missing}: there is no such image.") == 1
    assert "2 images could not be used: skipped" in result.output
    assert re.search(r"^Epoch 2/2: 6/6 images", result.output, re.M)
    lines = map(json.loads, (tmp_path / "results" / "status.json").read_text().splitlines())
    skipped = [line["graphical"]["bad_images"] for line in lines if "graphical" in line]
    assert skipped == [2, 2]


@pytest.mark.slow
def test_more_bad_images_than_allowed_end_the_training_with_all_of_them(spoilt, tmp_path):
    folder, damaged, missing = spoilt
    spec = spec_file(tmp_path, folder, batch_size=6, optimizer=SGD)
    result = train("-e", spec, "-r", tmp_path / "results", "--max-bad", "1")
    assert result.exit_code == 2
    assert "2 images cannot be used, and --max-bad allows 1" in result.output
    assert f"{damaged}: not a JPEG or PNG image, or damaged" in result.output
    assert f"{missing}: there is no such image." in result.output


def test_where_no_image_may_be_bad_a_missing_one_is_told_before_anything_is_made(spoilt, tmp_path):
    folder, _, missing = spoilt
    spec = spec_file(tmp_path, folder)
    result = train("-e", spec, "-r", tmp_path / "results", "--max-bad", "0")
    assert result.exit_code == 2
    assert f"1 of 6 images are missing, the first is {missing}" in result.output
    assert not (tmp_path / "results").exists()


@pytest.fixture
def real_frcnn(site):
    """Starts ``frcnn``, with the toy plugin installed, as a process of its own."""
    site.install("toy 1.0", "toy", Path(toy.__file__).read_text(), module="toy")
    started = []

    def start(*arguments):
        command = "from frcnn_core.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", command, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(site.folder), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(scenes, tmp_path, real_frcnn):
    results = tmp_path / "results"
    spec = spec_file(tmp_path, scenes, epochs=2000, optimizer=SGD)
    process = real_frcnn("train", "-e", spec, "-r", results)
    deadline = time.monotonic() + 120
    while not (results / "frcnn_toy.epoch_1.tlt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    (saved,) = re.findall(r"^Saved (\S+step_\d\.tlt)\.$", output, re.M)
    assert Path(saved).exists()
    typed = f'To go on, set in the spec: training_config {{ resume_from_model: "{saved}" }}'
    assert typed in output.splitlines()
    last = json.loads((results / "status.json").read_text().splitlines()[-1])
    assert last["message"] == "training was interrupted."
    # Half a checkpoint would be called otherwise, and there is none.
    assert not [path for path in results.iterdir() if path.suffix not in (".tlt", ".json")]

    epoch = int(re.search(r"epoch_(\d+)\.step", saved)[1])
    resumed = f'resume_from_model: "{saved}"'
    spec_file(tmp_path, scenes, epochs=epoch + 1, training=resumed, optimizer=SGD)
    again = train("-e", spec, "-r", results)
    assert again.exit_code == 0, again.output
    assert f"Going on after epoch {epoch}, step" in again.output
    assert f"Final model: {results}/frcnn_toy.epoch_{epoch + 1}.tlt" in again.output
