from datetime import datetime

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.training.tensorboard import SummaryLog, run_directory

NOON = datetime(2026, 3, 9, 12, 0, 0)


@pytest.fixture
def read():
    """What TensorBoard finds in a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(directory):
        found = accumulator.EventAccumulator(str(directory))
        found.Reload()
        return found

    return read


def points(found, tag):
    return [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in found.Tensors(tag)]


def test_tensorboard_reads_the_scalars_back(tmp_path, read):
    log = SummaryLog(tmp_path)
    log.scalars(1, {"loss": 2.0, "rate": 0.5})
    log.scalars(2, {"loss": 1.0})
    log.close()
    found = read(tmp_path)
    assert points(found, "loss") == [(1, 2.0), (2, 1.0)]
    assert points(found, "rate") == [(1, 0.5)]
    assert found.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"


def test_tensorboard_reads_a_picture_back(tmp_path, read):
    picture = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    log = SummaryLog(tmp_path)
    log.images(7, {"first": picture})
    log.close()
    (event,) = read(tmp_path).Tensors("first")
    width, height, png = tf.make_ndarray(event.tensor_proto)
    assert (event.step, width, height) == (7, b"3", b"2")
    np.testing.assert_array_equal(tf.io.decode_png(png), picture)


def test_a_histogram_counts_every_value(tmp_path, read):
    log = SummaryLog(tmp_path)
    log.histograms(1, {"kernel": np.linspace(0, 1, 60)})
    log.close()
    (event,) = read(tmp_path).Tensors("kernel")
    rows = tf.make_ndarray(event.tensor_proto)
    assert rows.shape == (30, 3)
    assert rows[:, 2].tolist() == [2] * 30


def test_a_resumed_training_continues_the_curves_of_the_first(tmp_path, read):
    for step in (1, 2):
        directory = run_directory(tmp_path, resumed=step > 1, now=NOON)
        log = SummaryLog(directory)
        log.scalars(step, {"loss": 0.0})
        log.close()
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["20260309-120000"]
    assert [step for step, _ in points(read(directory), "loss")] == [1, 2]


@pytest.mark.slow
def test_a_fresh_training_never_shares_a_folder(tmp_path):
    (tmp_path / "logs" / "20260309-120000").mkdir(parents=True)
    directory = run_directory(tmp_path, resumed=False, now=NOON)
    assert directory == tmp_path / "logs" / "20260309-120000-2"
