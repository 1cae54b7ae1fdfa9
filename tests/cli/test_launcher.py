"""Processes that are started together, shown as one and ended together; small scripts train here.

``test_train_processes.py`` starts real trainings.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from horovod_runs import needs_horovod

from frcnn_core.cli import watching
from frcnn_core.cli.launcher import launch
from frcnn_core.cli.processes import Host, Layout
from frcnn_core.cli.watching import Ending

pytestmark = [pytest.mark.slow, needs_horovod]

SCRIPT = """
import os, signal, sys, time
import click
from frcnn_core.cli import outcomes
from frcnn_core.cli.launcher import join
from frcnn_core.errors import DataError, WorkerLost

rank = int(os.environ["HOROVOD_RANK"])
first = rank == 0
join()


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def wait_for_the_other():
    time.sleep(60)


def train():
{body}


try:
    with outcomes.reported():
        train()
except click.exceptions.Exit as ending:
    sys.exit(ending.exit_code)
"""


def command(body):
    code = SCRIPT.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    return [sys.executable, "-c", code]


@pytest.fixture
def run(capfd, monkeypatch):
    """Runs a function body in processes: the ending, what was shown, and how long it took."""
    monkeypatch.setattr(watching, "GRACE", 1.0)

    def run(body, processes=2, **given):
        start = time.monotonic()
        ending = launch(command(body), Layout(processes, 1, **given))
        out, err = capfd.readouterr()
        return ending, out, err, time.monotonic() - start

    return run


def test_the_user_sees_the_first_process_and_the_warnings_of_others(run):
    ending, out, err, _ = run("""
        print(f"epoch 1 of {rank}")
        say("Warning: the same everywhere")
        if not first:
            say("Warning: GPU 1 is hot")
    """)
    assert ending == Ending(0)
    assert out == "epoch 1 of 0\n"
    assert sorted(err.splitlines()) == [
        "Warning: the same everywhere",
        "[process 1 on localhost] Warning: GPU 1 is hot",
    ]


def test_processes_know_their_places(run):
    _, _, err, _ = run(
        """
        variables = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CONTROLLER", "GLOO_IFACE")
        say("Warning:", *(os.environ["HOROVOD_" + name] for name in variables))
        """,
        processes=3,
    )
    assert sorted(line.partition("Warning: ")[2] for line in err.splitlines()) == [
        "0 3 0 3 gloo lo",
        "1 3 1 3 gloo lo",
        "2 3 2 3 gloo lo",
    ]


def test_the_cause_is_told_and_not_what_others_say_of_its_effect(run):
    ending, out, err, _ = run("""
        if first:
            time.sleep(0.5)
            say("[E horovod] connection closed by peer")
            raise WorkerLost("another process ended")
        raise DataError("a.png: damaged")
    """)
    assert ending == Ending(2, "a.png: damaged", rank=1, kind="error")
    assert (out, err) == ("", "")


def test_what_all_processes_complain_of_is_told_once(run):
    ending, _, err, _ = run('raise DataError("no records")')
    assert (ending.exit_code, ending.message, err) == (2, "no records", "")


def test_a_bug_is_told_with_its_traceback_and_process(run):
    ending, _, _, _ = run("""
        if first:
            wait_for_the_other()
        1 / 0
    """)
    assert (ending.exit_code, ending.kind) == (1, "bug")
    assert ending.message.startswith("[process 1 on localhost] Traceback")
    assert ending.message.endswith("ZeroDivisionError: division by zero\n")


def test_a_killed_process_ends_the_others_within_seconds(run):
    ending, _, _, seconds = run("""
        if first:
            wait_for_the_other()
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert ending.exit_code == 1
    assert ending.message.startswith("Process 1 of 2 (localhost) was killed by signal 9 (out of")
    assert seconds < 10


def test_what_had_to_be_killed_here_is_not_what_is_told(run):
    ending, _, _, _ = run("""
        if first:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            wait_for_the_other()
        raise WorkerLost("another process ended")
    """)
    assert ending == Ending(2, "another process ended", rank=1, kind="lost")


def test_a_process_that_ends_without_a_word_is_quoted(run):
    ending, _, _, _ = run("""
        if first:
            wait_for_the_other()
        say("terminate called after throwing std::bad_alloc")
        os._exit(7)
    """)
    assert ending.message == (
        "Process 1 of 2 (localhost) ended with exit code 7. The last it said:\n"
        "  terminate called after throwing std::bad_alloc"
    )


def test_a_machine_that_ssh_does_not_reach_is_named(run, tmp_path, monkeypatch):
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    hosts = (Host("localhost", 1), Host("127.0.0.2", 1))
    ending, _, _, _ = run("wait_for_the_other()", hosts=hosts)
    assert ending.exit_code == 1
    assert ending.message == (
        "Process 1 of 2 (127.0.0.2): the connection by ssh failed or broke off. The last it said:\n"
        "  Permission denied (publickey)."
    )


ORDERLY = """
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    print("ready", flush=True)
    while not stopped and not os.path.exists("{flag}"):
        time.sleep(0.05)
    open("{flag}", "w").close()
    time.sleep({saving})
    print("saved", flush=True)
    sys.exit(130)
"""


@pytest.fixture
def started(tmp_path):
    """Starts a launcher as a process of its own, and waits until its first worker is ready."""
    processes = []

    def start(body):
        code = textwrap.dedent("""
            import sys
            from frcnn_core.cli import watching
            from frcnn_core.cli.launcher import launch
            from frcnn_core.cli.processes import Layout
            watching.GRACE = 1.0
            ending = launch(sys.argv[1:], Layout(2, 1))
            print(ending.message)
            sys.exit(ending.exit_code)
        """)
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command(body)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_first_process_to_stop_and_waits(started, tmp_path, number):
    process = started(ORDERLY.format(flag=tmp_path / "flag", saving=2.0))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    # No grace would have been so long, and SIGTERM came to the first process alone.
    assert (out, process.returncode) == ("saved\n\n", 130)


def test_a_second_ctrl_c_kills(started, tmp_path):
    process = started(ORDERLY.format(flag=tmp_path / "flag", saving=5.50))
    process.send_signal(signal.SIGINT)
    while not (tmp_path / "flag").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert (out, process.returncode) == ("Interrupted.\n", 130)


def test_no_process_outlives_the_launcher(started, tmp_path):
    pid = tmp_path / "pid"
    process = started(f"""
        open("{pid}" + str(rank), "w").write(str(os.getpid()))
        time.sleep(0.3)
        print("ready", flush=True)
        wait_for_the_other()
    """)
    process.kill()
    deadline = time.monotonic() + 10
    alive = [int((tmp_path / f"pid{rank}").read_text()) for rank in (0, 1)]
    while alive and time.monotonic() < deadline:
        alive = [number for number in alive if _runs(number)]
        time.sleep(0.05)
    assert not alive


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
