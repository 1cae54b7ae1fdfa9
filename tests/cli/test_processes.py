"""How many processes, with which devices: what the flags mean, and what is wrong with them."""

import pytest

from frcnn_core.cli.processes import (
    Host,
    Layout,
    check_agrees,
    indices_of,
    layout,
)
from frcnn_core.errors import FrcnnError
from frcnn_core.processes.process import Process


@pytest.mark.parametrize(
    "flags, processes, devices",
    [
        ({}, 1, 1),
        ({"gpus": 1}, 1, 1),
        ({"gpus": 2}, 2, 1),
        ({"gpus": 4, "num_processes": 4}, 4, 1),
        ({"num_processes": 2}, 2, 1),
        # The documentation's cases of model parallelism.
        ({"gpus": 2, "num_processes": 1, "parts": 2}, 1, 2),
        ({"gpus": 4, "num_processes": 2, "parts": 2}, 2, 2),
        ({"gpus": 8, "num_processes": 4, "parts": 2}, 4, 2),
        ({"gpus": 4, "parts": 2}, 2, 2),
        ({"parts": 2}, 1, 2),
        ({"num_processes": 2, "parts": 3}, 2, 3),
        ({"gpus": 2, "parts": 1}, 2, 1),
    ],
)
def test_gpus_are_shared_out_among_processes(flags, processes, devices):
    assert layout(**flags) == Layout(processes, devices)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"num_processes": 0}, "give 1 or more, or -1"),
        ({"num_processes": -2}, "give 1 or more, or -1"),
        ({"gpus": 3, "num_processes": 2}, "--gpus 3 is not a multiple of --num_processes 2"),
        ({"gpus": 1, "num_processes": 2}, "--gpus 1 is not a multiple of --num_processes 2"),
        ({"gpus": 2, "num_processes": 1}, "leave --num_processes out to train with 2 processes"),
        ({"gpus": 3, "parts": 2}, "--gpus has to be a multiple of 2"),
        ({"gpus": 1, "parts": 2}, "--gpus has to be a multiple of 2"),
        (
            {"gpus": 4, "num_processes": 1, "parts": 2},
            "is 4 a process, and training_config.model_parallelism has 2 entries, .* --gpus 2,",
        ),
        ({"gpus": 2, "gpu_index": (0,)}, "names 1 GPU, and this training takes 2"),
        ({"gpu_index": (0, 1)}, "names 2 GPUs, and this training takes 1"),
        ({"gpus": 2, "gpu_index": (1, 1)}, "--gpu_index 1 1 names a GPU twice"),
        ({"hosts": "a"}, "'a' is not NAME:PROCESSES"),
        ({"hosts": "a:0"}, "'a:0' is not NAME:PROCESSES"),
        ({"hosts": "a:2,"}, "'' is not NAME:PROCESSES"),
        ({"hosts": "-oProxyCommand=x:2"}, "is not NAME:PROCESSES"),
        ({"hosts": "a:1,a:1"}, "a is named twice"),
        ({"hosts": "a:2,b:2", "gpus": 8}, "names 4 processes, and the other flags ask for 8"),
        ({"hosts": "a:2,b:2", "gpu_index": (0, 1, 2, 3)}, "names 4 GPUs, and a machine takes 2"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags, message):
    with pytest.raises(FrcnnError, match=message):
        layout(**flags)


def test_hosts_say_how_many_processes_there_are():
    found = layout(hosts="a:2, gpu-7.lan:1", gpu_index=(4, 5))
    assert found == Layout(3, 1, (Host("a", 2), Host("gpu-7.lan", 1)))


def test_with_hosts_gpus_are_counted_over_all_machines():
    assert layout(hosts="a:2,b:2", gpus=8, parts=2).processes == 4


def test_every_process_has_gpus_of_its_own():
    def index(local_rank, *given, devices):
        return list(indices_of(Process(9, 10, local_rank, 2), given, devices))

    assert [index(rank, devices=1) for rank in (0, 1)] == [[0], [1]]
    assert [index(rank, devices=2) for rank in (0, 1)] == [[0, 1], [2, 3]]
    assert [index(rank, 7, 5, 3, 1, devices=2) for rank in (0, 1)] == [[7, 5], [3, 1]]
    with pytest.raises(FrcnnError, match="names 1 GPU; the processes of this machine need 2"):
        index(1, 0, devices=1)


def test_a_process_alone_takes_the_first_gpus():
    assert list(indices_of(None, (), 1)) == [0]
    assert list(indices_of(None, (3,), 1)) == [3]


@pytest.mark.slow
def test_flags_have_to_agree_with_what_was_started():
    process = Process(0, 4, 0, 4)
    check_agrees(process, None, -1, 1)
    check_agrees(process, 4, -1, 1)
    check_agrees(process, 8, -1, 2)
    check_agrees(process, 8, 4, 2)
    with pytest.raises(FrcnnError, match="ask for 2 processes, but 4 were started"):
        check_agrees(process, 2, -1, 1)
