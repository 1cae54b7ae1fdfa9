"""What processes exchange: alone, and two real ones."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from horovod_runs import horovodrun, needs_horovod

from frcnn_core.errors import DataError, FrcnnError, WorkerLost
from frcnn_core.processes.distributed import ALONE, LARGE, HorovodWorkers, connect


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


# Alone ----------------------------------------------------------------------------------------


def test_a_process_alone_averages_with_nobody():
    tensors, flag = [tf.constant([1.0, 2.0])], tf.constant(1.0)
    assert ALONE.average(tensors, tf.constant(0.5), sums=[flag]) == [*tensors, flag]


def test_a_process_alone_is_the_first_and_does_what_the_first_does():
    assert (ALONE.is_first, ALONE.rank, ALONE.size) == (True, 0, 1)
    assert (ALONE.gather(3), ALONE.share(3), ALONE.on_first(lambda: 3)) == ([3], 3, 3)

    def fail():
        raise DataError("full")

    with pytest.raises(DataError):
        ALONE.on_first(fail)


def test_without_a_launcher_there_is_one_process_and_horovod_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", None)  # importing it would fail
    assert connect(compress=True) is ALONE


def test_several_processes_without_horovod_are_told_how_to_get_it(monkeypatch):
    monkeypatch.setenv("HOROVOD_RANK", "1")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "horovod", None)
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", None)
    with pytest.raises(FrcnnError, match=r"one of 2 processes.*\n.*make horovod.*docs/scaling.md"):
        connect()


def fake_horovod(monkeypatch, **attributes):
    package, module = ModuleType("horovod"), SimpleNamespace(**attributes)
    package.tensorflow = module
    monkeypatch.setitem(sys.modules, "horovod", package)
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", module)


def test_processes_that_horovod_cannot_see_do_not_each_train_alone(monkeypatch):
    """As with mpirun, and a Horovod without MPI: it finds one process and is content."""
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    fake_horovod(monkeypatch, init=lambda: None, size=lambda: 1)
    with pytest.raises(FrcnnError, match=r"started 4 processes, but Horovod connects 1.*--gpus 4"):
        connect()


def test_a_failed_start_is_told_in_one_sentence(monkeypatch):
    def init():
        raise TimeoutError("nobody there")

    monkeypatch.setenv("HOROVOD_RANK", "1")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    fake_horovod(monkeypatch, init=init)
    with pytest.raises(FrcnnError, match=r"cannot connect the 2 processes .*: nobody there"):
        connect()


@pytest.mark.parametrize(
    "error, is_lost",
    [
        (tf.errors.UnknownError(None, None, "Horovod has been shut down."), True),
        (tf.errors.UnknownError(None, None, "Closed by peer [[{{node frcnn_average}}]]"), True),
        (tf.errors.UnknownError(None, None, "CUDNN_STATUS_EXECUTION_FAILED"), False),
        (tf.errors.ResourceExhaustedError(None, None, "no memory for Horovod"), False),
    ],
)
def test_only_what_an_exchange_says_is_the_loss_of_a_process(error, is_lost):
    with pytest.raises(WorkerLost if is_lost else type(error)):
        with HorovodWorkers(size=2).watching():
            raise error


# Two processes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("exchanges")
    ended = horovodrun("exchanges_of_processes.py", folder)
    files = [folder / f"{rank}.pickle" for rank in range(2)]
    assert all(file.exists() for file in files), ended.stderr
    return [pickle.loads(file.read_bytes()) for file in files]


def two_processes(test):
    """Marks of a test that needs two."""
    return pytest.mark.slow(needs_horovod(test))


@two_processes
def test_each_process_knows_which_it_is(seen):
    assert [one["worker"] for one in seen] == [(0, 2, True), (1, 2, False)]


@two_processes
def test_a_mean_is_weighted_and_a_sum_is_not(seen):
    # (1/3 * 1 + 1 * 2) / (4/3) = 1.75, (1/3 * 0 - 1 * 4) / (4/3) = -3.
    for one in seen:
        mean, total = one["averages"]
        np.testing.assert_allclose(mean, [1.75, -3], rtol=1e-6)
        np.testing.assert_array_equal(total, [3, -4])


@two_processes
def test_what_a_process_without_weight_has_does_not_count_even_if_it_is_no_number(seen):
    assert [one["without the second"] for one in seen] == [5, 5]


@two_processes
def test_all_processes_get_the_mean_to_the_same_bit(seen):
    (own, means), (others, same) = (one["exact"] for one in seen)
    for a, b, mean, again in zip(own, others, means, same, strict=True):
        np.testing.assert_array_equal(mean, again)
        np.testing.assert_allclose(mean, (a.astype(float) + b) / 2, rtol=1e-6, atol=1e-7)


@two_processes
def test_16_bits_are_close_and_only_for_large_tensors_that_allow_it(seen):
    (_, exact), (_, _) = (one["exact"] for one in seen)
    (_, compressed), (_, same) = (one["compressed"] for one in seen)
    large, small, forbidden = compressed
    assert len(large) == len(forbidden) == LARGE == len(small) + 1
    assert not np.array_equal(large, exact[0])
    # float16 has 11 bits: 2^-11 of each of two numbers of up to 4, and of their sum.
    np.testing.assert_allclose(large, exact[0], atol=4 * 2.0**-10)
    np.testing.assert_array_equal(small, exact[1])
    np.testing.assert_array_equal(forbidden, exact[2])
    np.testing.assert_array_equal(large, same[0])


@two_processes
def test_variables_become_those_of_the_first(seen):
    for one in seen:
        floats, integers, half = one["broadcast"]
        assert floats.tolist() == [[1.5] * 3] * 2
        assert integers.tolist() == [0, 1]
        assert half == 0.5


@two_processes
def test_objects_are_gathered_in_order_and_shared_from_the_first(seen):
    both = [{"rank": 0, "more": ""}, {"rank": 1, "more": "x" * 1000}]
    assert [one["objects"] for one in seen] == [(both, both[0])] * 2


@two_processes
def test_the_first_acts_for_all_and_its_error_is_everybodys(seen):
    assert seen[0]["on first"] == (42, 1, "The disk is full.")
    assert seen[1]["on first"] == (42, 0, "The disk is full.")


@two_processes
def test_a_process_that_is_killed_ends_the_others_with_a_message(seen):
    assert "Another process of this training ended" in seen[0]["lost"]
    assert "lost" not in seen[1]
