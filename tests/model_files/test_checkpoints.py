import json
import os

import pytest

from frcnn_core.errors import TrainingError
from frcnn_core.model_files.checkpoints import (
    Checkpoints,
    Naming,
    how_to_resume,
    latest,
    parse_epoch,
)

NAN = float("nan")


def train(directory, mAPs, *, interval=1, after=0):
    """Train one epoch per mAP (None: not validated) after epoch ``after``."""
    checkpoints = Checkpoints(Naming(directory, "m"), interval=interval)
    checkpoints.start(after)
    for epoch, mAP in enumerate(mAPs, start=after + 1):
        final = epoch == after + len(mAPs)
        if checkpoints.should_save(epoch, final=final, mAP=mAP):
            checkpoints.path(epoch).write_text("weights")
            checkpoints.saved(epoch, final=final, mAP=mAP)
    return checkpoints


def epochs_on_disk(directory):
    return sorted(parse_epoch(path) for path in directory.glob("*.tlt"))


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("out/kitti.epoch12.tlt", 12),
        ("frcnn_resnet_18.epoch_12.tlt", 12),
        ("frcnn_resnet_18.epoch_12.hdf5", 12),
        ("frcnn_resnet_18.epoch_0.step_340.tlt", 0),
        ("v2.epoch_1.epoch_30.tlt", 30),
        ("kitti.tlt", None),
        ("kitti.epoch_x.tlt", None),
        ("kitti.epoch_3", None),
    ],
)
def test_the_epoch_is_read_from_both_styles_of_name(name, epoch):
    assert parse_epoch(name) == epoch


def test_with_an_output_model_names_are_those_of_tlt_3():
    naming = Naming.of(arch="resnet:18", output_model="out/frcnn_kitti.v2.tlt")
    assert str(naming.path(12)) == "out/frcnn_kitti.v2.epoch12.tlt"


def test_without_one_names_are_those_of_tao_5():
    naming = Naming.of(arch="resnet:18", results_dir="run")
    assert str(naming.path(12)) == "run/frcnn_resnet_18.epoch_12.tlt"


def test_a_results_dir_replaces_the_folder_of_the_output_model():
    naming = Naming.of(arch="resnet:18", output_model="out/kitti.hdf5", results_dir="run")
    assert str(naming.path(1)) == "run/kitti.epoch1.tlt"


@pytest.mark.parametrize(
    ("interval", "kept"), [(0, [1, 2, 3, 4, 5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])]
)
def test_every_interval_th_and_the_last_epoch_are_kept(tmp_path, interval, kept):
    train(tmp_path, [None] * 5, interval=interval)
    assert epochs_on_disk(tmp_path) == kept


def test_the_best_epoch_is_kept_though_the_interval_leaves_it_out(tmp_path):
    train(tmp_path, [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6], interval=5)
    assert epochs_on_disk(tmp_path) == [3, 5, 7]


def test_a_beaten_best_is_removed_unless_the_interval_keeps_it(tmp_path):
    train(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.1], interval=2)
    assert epochs_on_disk(tmp_path) == [2, 4, 5]


def test_of_equally_good_epochs_the_first_is_the_best(tmp_path):
    assert train(tmp_path, [0.5, 0.5], interval=9).best.epoch == 1


def test_data_without_objects_has_no_best_epoch(tmp_path):
    assert train(tmp_path, [NAN, NAN], interval=9).best is None


def test_a_json_file_says_which_is_the_best_and_which_the_last(tmp_path):
    checkpoints = train(tmp_path, [0.25, 0.5, None], interval=3)
    assert json.loads(checkpoints.index.read_text())["checkpoints"] == [
        {"epoch": 2, "file": "m.epoch_2.tlt", "mAP": 0.5, "final": False, "best": True},
        {"epoch": 3, "file": "m.epoch_3.tlt", "mAP": None, "final": True, "best": False},
    ]


def test_a_resumed_training_remembers_the_best_but_removes_nothing_it_did_not_write(tmp_path):
    train(tmp_path, [0.8, 0.1], interval=9)
    assert train(tmp_path, [0.7, 0.1], interval=9, after=2).best.epoch == 1
    assert epochs_on_disk(tmp_path) == [1, 2, 4]
    assert train(tmp_path, [0.9], interval=9, after=4).best.epoch == 5
    assert epochs_on_disk(tmp_path) == [1, 2, 4, 5]


def test_only_the_last_session_has_the_final_epoch(tmp_path):
    train(tmp_path, [None])
    index = json.loads(train(tmp_path, [None], after=1).index.read_text())
    assert [entry["final"] for entry in index["checkpoints"]] == [False, True]


def test_a_checkpoint_the_user_removed_is_forgotten(tmp_path):
    train(tmp_path, [0.8, 0.1]).path(1).unlink()
    assert train(tmp_path, [0.5], after=2).best.epoch == 3


def test_a_fresh_training_does_not_overwrite_the_checkpoints_of_another(tmp_path):
    train(tmp_path, [None, None])
    with pytest.raises(
        TrainingError, match=r"(?s)m\.epoch_1\.tlt, m\.epoch_2\.tlt.*-r.*m\.epoch_2\.tlt"
    ):
        train(tmp_path, [None])


def test_going_back_to_an_earlier_epoch_does_not_overwrite_the_later_ones(tmp_path):
    train(tmp_path, [None, None, None])
    with pytest.raises(TrainingError, match=r"overwrite: m\.epoch_3\.tlt"):
        train(tmp_path, [None], after=2)


def test_what_an_interrupted_training_left_is_no_hindrance(tmp_path):
    (tmp_path / "m.epoch_1.step_7.tlt").write_text("in mid-epoch")
    train(tmp_path, [None, None])
    assert epochs_on_disk(tmp_path) == [1, 1, 2]


def test_trainings_of_other_names_may_share_a_folder(tmp_path):
    (tmp_path / "m_retrain.epoch_9.tlt").write_text("another")
    train(tmp_path, [0.5])
    assert (tmp_path / "m.checkpoints.json").exists()


def test_a_damaged_json_file_says_what_to_do(tmp_path):
    (tmp_path / "m.checkpoints.json").write_text("{")
    with pytest.raises(TrainingError, match="move it away"):
        train(tmp_path, [None])


@pytest.mark.slow
def test_the_latest_checkpoint_is_the_one_written_last(tmp_path):
    assert latest(tmp_path) is None
    for seconds, name in [(2, "a.epoch_1.tlt"), (1, "b.epoch_7.tlt"), (3, "final.tlt")]:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (seconds, seconds))
    assert latest(tmp_path).name == "a.epoch_1.tlt"
    assert 'resume_from_model: "' in how_to_resume(latest(tmp_path))
