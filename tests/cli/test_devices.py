"""``--gpu_index`` of commands that run on one GPU; TensorFlow's GPUs are pretended."""

import click
import pytest
import tensorflow as tf

from frcnn_core.cli.devices import add_in_order, use_one_gpu, use_own_devices
from frcnn_core.errors import FrcnnError
from frcnn_core.processes.cores import num_cores
from frcnn_core.processes.process import Process


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


# One of several processes -----------------------------------------------------------------------


@pytest.fixture
def threads(monkeypatch):
    """The numbers of threads that were asked for."""
    asked = []
    monkeypatch.setattr(
        tf.config.threading, "set_intra_op_parallelism_threads", lambda number: asked.append(number)
    )
    return asked


@pytest.fixture
def no_gpu(monkeypatch):
    """No GPU, and the numbers of parts that the CPU was split into."""
    parts = []
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["cpu"] if kind == "CPU" else []
    )
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda cpu, given: parts.append(len(given))
    )
    return parts


def test_a_process_sees_its_own_gpus_by_numbers_from_0(shown, threads):
    assert use_own_devices(Process(3, 4, 1, 2), (), devices=1) == ("GPU:0",)
    assert use_own_devices(Process(0, 2, 0, 2), (2, 0, 1), devices=2) == ("GPU:0", "GPU:1")
    assert shown == [["b"], ["c", "a"]]
    assert threads == []


def test_a_gpu_that_a_process_needs_and_that_is_not_there_is_named(shown):
    with pytest.raises(FrcnnError, match=r"no GPU 3: the GPUs .* are 0 to 2\. 2 processes with 2"):
        use_own_devices(Process(1, 2, 1, 2), (), devices=2)


def test_without_gpus_the_processes_of_a_machine_share_its_cores(no_gpu, threads, caplog):
    caplog.set_level("INFO")
    process = Process(0, 8, 0, 2)
    assert use_own_devices(process, (), devices=1) == ("CPU:0",)
    share = max(1, num_cores() // 2)
    assert threads == [share]
    assert f"2 processes on this machine's CPU, {share} thread" in caplog.text
    assert no_gpu == []


def test_the_number_of_threads_can_be_given(no_gpu, threads):
    use_own_devices(Process(0, 2, 0, 2), (), devices=1, threads=3)
    use_own_devices(None, (), devices=1, threads=4)
    use_own_devices(None, (), devices=1)
    assert threads == [3, 4]


def test_without_gpus_a_network_is_split_over_parts_of_the_cpu(no_gpu, threads, caplog):
    caplog.set_level("INFO")
    assert use_own_devices(None, (), devices=2) == ("CPU:0", "CPU:1")
    assert no_gpu == [2]
    assert "the network on 2 logical devices of it" in caplog.text


@pytest.mark.slow
def test_without_a_gpu_the_gpus_of_a_process_only_warn(no_gpu, threads, caplog):
    use_own_devices(Process(0, 2, 0, 2), (0, 1), devices=1)
    assert "the CPU is used" in caplog.text
