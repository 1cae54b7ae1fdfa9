import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from frcnn_core.errors import TrainingError
from frcnn_core.training.events import EpochDone, Interrupted, StepDone
from frcnn_core.training.log import TrainingLog, Visualizer
from frcnn_core.training.trainer import Progress

LOSSES = {"rpn_class": 0.5, "rpn_box": 0.25, "head_class": 1.0, "head_box": 0.0}


class Kernel:
    """A variable of three weights."""

    path = "conv1/kernel"

    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, 2.0, 4.0])


def trainer(**progress):
    part = SimpleNamespace(trainable_variables=[Kernel()])
    return SimpleNamespace(
        num_epochs=4,
        steps_per_epoch=10,
        progress=Progress(**progress),
        model=SimpleNamespace(detector=SimpleNamespace(parts={"features": part})),
    )


def epoch_done(number, mAP=None):
    return EpochDone(
        epoch=number,
        losses=LOSSES,
        learning_rate=0.01,
        seconds=30.0,
        validation=None
        if mAP is None
        else SimpleNamespace(primary=mAP, results={"voc12": SimpleNamespace(primary=mAP)}),
        checkpoint=None,
        is_best=False,
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]


def test_an_epoch_is_a_line_with_its_losses_and_what_is_left(tmp_path):
    TrainingLog(tmp_path, trainer()).take(epoch_done(1, mAP=0.5))
    (line,) = lines(tmp_path)
    assert (line["epoch"], line["max_epoch"]) == (1, 4)
    kpi = {"mean average precision": 0.5, "voc12": 0.5}
    assert line["graphical"] == {"loss": 1.75, **LOSSES, "learning_rate": 0.01, **kpi}
    assert line["kpi"] == kpi


def test_an_epoch_without_validation_has_no_kpi(tmp_path):
    TrainingLog(tmp_path, trainer()).take(epoch_done(1))
    assert "kpi" not in lines(tmp_path)[0]


def test_start_and_end_are_lines(tmp_path):
    with TrainingLog(tmp_path, trainer()).running():
        pass
    assert [line["status"] for line in lines(tmp_path)] == ["STARTED", "SUCCESS"]


def test_a_failure_is_a_line_with_its_reason(tmp_path):
    with pytest.raises(TrainingError), TrainingLog(tmp_path, trainer()).running():
        raise TrainingError("The loss is no longer a finite number")
    last = lines(tmp_path)[-1]
    assert last["status"] == "FAILURE"
    assert "no longer a finite number" in last["message"]


def test_an_interruption_is_a_line_with_its_checkpoint(tmp_path):
    TrainingLog(tmp_path, trainer()).take(Interrupted(Path("net.epoch_1.step_2.tlt")))
    assert "Interrupted; saved net.epoch_1.step_2.tlt." in lines(tmp_path)[0]["message"]


class Recorder:
    """A ``SummaryLog`` that remembers."""

    def __init__(self):
        self.taken = []

    def __getattr__(self, kind):
        return lambda *args: self.taken.append((kind, *args))


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log with a visualizer, and the recorder that it writes to."""
    recorder, directories = Recorder(), []
    monkeypatch.setattr(
        "frcnn_core.training.log.SummaryLog", lambda path: directories.append(path) or recorder
    )
    picture = {"a.png": np.zeros((2, 2, 3), np.uint8)}
    visualizer = Visualizer(pictures=lambda: picture, weight_histograms=True)
    return TrainingLog(tmp_path, trainer(), visualizer), recorder


def test_steps_are_counted_over_all_epochs(log):
    log, recorder = log
    log.take(StepDone(epoch=3, step=2, losses=LOSSES, learning_rate=0.01, images=4))
    ((kind, step, values),) = recorder.taken
    assert (kind, step) == ("scalars", 22)
    assert values["loss/total"] == 1.75
    assert values["loss/rpn_box"] == 0.25
    assert values["learning_rate"] == 0.01


def test_an_epoch_adds_its_map_pictures_and_weights(log):
    log, recorder = log
    log.take(epoch_done(2, mAP=0.5))
    scalars, images, histograms, flush = recorder.taken
    assert scalars[:2] == ("scalars", 20)
    assert scalars[2]["validation/mean average precision"] == 0.5
    assert images[:2] == ("images", 20) and list(images[2]) == ["a.png"]
    assert histograms[:2] == ("histograms", 20)
    assert histograms[2]["features/conv1/kernel"].tolist() == [1, 2, 4]
    assert flush == ("flush",)


def test_a_resumed_training_goes_on_in_the_folder_of_the_first(tmp_path):
    visualizer = Visualizer(pictures=dict)
    TrainingLog(tmp_path, trainer(), visualizer)
    first = sorted((tmp_path / "logs").iterdir())
    TrainingLog(tmp_path, trainer(epoch=1), visualizer)
    assert sorted((tmp_path / "logs").iterdir()) == first
    TrainingLog(tmp_path, trainer(), visualizer)
    assert len(list((tmp_path / "logs").iterdir())) == 2


@pytest.mark.slow
def test_without_a_visualizer_there_are_no_logs(tmp_path):
    TrainingLog(tmp_path, trainer()).take(epoch_done(1))
    assert not (tmp_path / "logs").exists()
