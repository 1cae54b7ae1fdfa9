import os
import signal

import pytest

from frcnn_core.cli.signals import calling


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_work_goes_on(number):
    done = []
    with calling(lambda: done.append("asked")):
        send(number)
        done.append("went on")
    assert done == ["asked", "went on"]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_interrupts_at_once(first):
    with pytest.raises(KeyboardInterrupt), calling(lambda: None):
        send(first)
        send(signal.SIGINT)


@pytest.mark.slow
def test_afterwards_signals_do_what_they_did_before():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with calling(lambda: None):
        send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in numbers] == before
