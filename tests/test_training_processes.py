"""Two processes that train together are one that trains with batches of twice the size."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import toy
from horovod_runs import TESTS, horovodrun, needs_horovod

from frcnn_core.training import Interrupted

pytestmark = [pytest.mark.slow, needs_horovod]

ALIKE = ("frozen", "augmented")
"""What one process does as well."""
OF_TWO = ("moving", "stopped", "failures")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two processes, and one alone, saw of each training.

    Nine images in steps of four: the second process has none in the last step of an epoch.  A
    damaged image is in the second batch of validation, which is the second process's.
    """
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 9, seed=0, empty=1)
    toy.write_scenes(folder, "val", 19, seed=1)
    (folder / "images" / "val_10.png").write_bytes(b"no picture")
    program = "trainings_of_processes.py"
    for name in ("one", "two"):
        (folder / name).mkdir()
    alone = subprocess.Popen([sys.executable, TESTS / program, folder, folder / "one", *ALIKE])
    ended = horovodrun(program, folder, folder / "two", *ALIKE, *OF_TWO)
    assert alone.wait() == 0
    assert ended.returncode == 0, ended.stderr

    def of(name, rank, size):
        path = folder / {1: "one", 2: "two"}[size] / f"{name}.{rank}_of_{size}.pickle"
        return pickle.loads(path.read_bytes())

    both = {name: [of(name, rank, 2) for rank in range(2)] for name in (*ALIKE, *OF_TWO)}
    return {**both, "alone": {name: of(name, 0, 1) for name in ALIKE}, "folder": folder}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def steps_of(outcome):
    return [step[:2] for step in outcome["steps"]]


@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_give_the_weights_of_one_with_twice_the_batch(seen, name):
    first, alone = seen[name][0], seen["alone"][name]
    assert len(first["steps"]) == len(alone["steps"]) == 6
    for kind in ("weights", "optimizer"):
        assert first[kind].keys() == alone[kind].keys()
        for variable, value in first[kind].items():
            np.testing.assert_allclose(
                value, alone[kind][variable], rtol=0, atol=1e-5, err_msg=variable
            )


@pytest.mark.parametrize("name", ALIKE)
def test_losses_images_and_rates_are_those_of_one_process(seen, name):
    for step, expected in zip(seen[name][0]["steps"], seen["alone"][name]["steps"], strict=True):
        assert step[:4] == expected[:4]
        assert step[4] == pytest.approx(expected[4], abs=1e-5)
    assert [step[2] for step in seen[name][0]["steps"]] == [4, 4, 1] * 2
    losses, *_ = seen[name][0]["epochs"][-1]
    assert losses == pytest.approx(seen["alone"][name]["epochs"][-1][0], abs=1e-5)


def test_both_processes_see_the_same_training(seen):
    for name in (*ALIKE, "moving"):
        first, second = seen[name]
        for what in ("steps", "epochs", "best", "last"):
            assert first[what] == second[what]
        assert_equal(first["optimizer"], second["optimizer"])


def test_moving_statistics_are_the_same_in_both_but_their_dropout_is_not(seen):
    first, second = (outcome["weights"] for outcome in seen["moving"])
    different = {name for name in first if not np.array_equal(first[name], second[name])}
    assert different == {"head/head_dropout/seed_generator_state"}
    assert any(first[name].any() for name in first if name.endswith("moving_mean"))


def test_the_validation_is_that_of_one_process(seen):
    first, second = (outcome["last"] for outcome in seen["frozen"])
    alone = seen["alone"]["frozen"]["last"]
    assert first == second
    times = {"seconds": 0.0, "images_per_second": 0.0}
    assert replace(first, **times) == replace(alone, **times)
    assert (first.num_images, first.num_skipped) == (18, 1)
    # The second process met the bad image; both know of it.
    assert [outcome["epochs"][-1][3] for outcome in seen["frozen"]] == [1, 1]


def test_a_stop_in_one_process_ends_both_after_the_same_step(seen):
    for stopped, _ in seen["stopped"]:
        assert steps_of(stopped) == [(1, 1), (1, 2)]
        assert isinstance(stopped["last"], Interrupted)
    (first, _), (second, _) = seen["stopped"]
    assert first["last"] == second["last"]
    results = seen["folder"] / "two" / "stopped"
    assert sorted(path.name for path in results.glob("*.tlt")) == [
        "frcnn_toy.epoch_0.step_2.tlt",
        "frcnn_toy.epoch_1.tlt",
        "frcnn_toy.epoch_2.tlt",
    ]


def test_what_was_stopped_goes_on_to_the_last_bit(seen):
    for (stopped, resumed), moving in zip(seen["stopped"], seen["moving"], strict=True):
        assert steps_of(stopped) + steps_of(resumed) == steps_of(moving)
        assert_equal(resumed["weights"], moving["weights"])
        assert_equal(resumed["optimizer"], moving["optimizer"])
        assert resumed["epochs"][-1][0] == moving["epochs"][-1][0]


def test_checkpoints_of_another_run_are_refused_in_both(seen):
    messages = [outcome["refused"] for outcome in seen["failures"]]
    assert messages[0] == messages[1]
    assert "would overwrite: frcnn_toy.epoch_1.tlt, frcnn_toy.epoch_2.tlt" in messages[0]


def test_a_loss_that_is_no_number_ends_both_and_names_the_images_of_the_one_that_has_it(seen):
    messages = [outcome["not finite"] for outcome in seen["failures"]]
    assert messages[0] == messages[1]
    assert "images of the batch: 5.png, inf.png" in messages[0]


def test_processes_that_would_not_train_the_same_are_told_apart(seen):
    messages = [outcome["different"] for outcome in seen["failures"]]
    assert messages[0] == messages[1]
    assert "process 0: (1, 1, 2, 1, 0, 0)" in messages[0]
    assert "process 1: (2, 1, 2, 1, 0, 0)" in messages[0]
