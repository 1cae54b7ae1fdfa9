"""``--gpu_index`` of commands that run on one GPU; TensorFlow's GPUs are pretended."""

import click
import pytest
import tensorflow as tf

from frcnn_core.cli.devices import add_in_order, use_one_gpu


@pytest.fixture
def shown(monkeypatch):
    """Three GPUs, and the list of those that were made visible."""
    visible = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b", "c"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: visible.append(gpus))
    return visible


def test_without_the_flag_nothing_is_hidden(shown):
    use_one_gpu(())
    assert shown == []


def test_the_chosen_gpu_is_the_one_that_is_visible(shown):
    use_one_gpu((1,))
    assert shown == ["b"]


@pytest.mark.parametrize("chosen, message", [((3,), "the GPUs are 0 to 2"), ((0, 1), "on one GPU")])
def test_a_gpu_that_is_not_there_and_more_than_one_are_refused(shown, chosen, message):
    with pytest.raises(click.BadParameter, match=message):
        use_one_gpu(chosen)


@pytest.mark.parametrize("gpus, enabled", [([], 1), (["a"], 0)])
def test_sums_are_in_order_where_there_is_no_gpu(monkeypatch, gpus, enabled):
    calls = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append("in order")
    )
    add_in_order()
    assert len(calls) == enabled


def test_without_a_gpu_the_flag_only_warns(monkeypatch, caplog):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    use_one_gpu((0,))
    assert "the CPU is used" in caplog.text
