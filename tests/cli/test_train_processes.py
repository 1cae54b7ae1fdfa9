"""``frcnn train`` in several real processes, which Horovod connects.

Two processes cost 40 seconds of a CPU before their first step; so several tests look at one run.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import toy
from conftest import Site
from horovod_runs import HOROVODRUN, needs_horovod
from placed_trainings import MOMENTUM, largest_gap

from frcnn_core.model_files import archive

pytestmark = [pytest.mark.slow, needs_horovod]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 8, seed=0)
    toy.write_scenes(folder, "val", 4, seed=1)
    return folder


@pytest.fixture(scope="module")
def frcnn(tmp_path_factory):
    """Starts ``frcnn train``, with the toy plugin installed, on a spec that ``toy`` writes."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.install("toy 1.0", "toy", Path(toy.__file__).read_text(), module="toy")
    started = []

    def start(folder, scenes, *flags, before=(), environment=None, **spec):
        text = toy.spec_text(scenes, **{"batch_size": 2, "optimizer": MOMENTUM, **spec})
        (folder / "spec.txt").write_text(text)
        command = [sys.executable, "-c", "from frcnn_core.cli import main; main()", "train"]
        process = subprocess.Popen(
            [*before, *command, "-e", folder / "spec.txt", "-r", folder / "results", *flags],
            env={**os.environ, "PYTHONPATH": str(site.folder), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process, seconds=120):
    """What a process said on stdout and on stderr, and its exit code."""
    return *process.communicate(timeout=seconds), process.returncode


def trained(process, results, epoch):
    """Wait until an epoch was saved; the trainings that a process started."""
    import psutil  # Horovod's; without it this file is skipped, not broken

    deadline = time.monotonic() + 120
    while not (results / f"frcnn_toy.epoch_{epoch}.tlt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    return sorted(psutil.Process(process.pid).children(), key=lambda child: child.pid)


def statuses(results):
    lines = (results / "status.json").read_text().splitlines()
    return [(line["status"], line["message"]) for line in map(json.loads, lines)]


@dataclass(frozen=True)
class Ran:
    """A training that was left to itself."""

    folder: Path
    out: str
    err: str
    code: int

    @property
    def checkpoint(self):
        return self.folder / "results" / "frcnn_toy.epoch_2.tlt"


@pytest.fixture(scope="module")
def two_processes(scenes, frcnn, tmp_path_factory):
    """Two epochs in two processes, and a log file."""
    folder = tmp_path_factory.mktemp("two")
    flags = "--gpus", "2", "--log_file", folder / "log.txt"
    return Ran(folder, *ended(frcnn(folder, scenes, *flags, **validated(scenes))))


def validated(scenes):
    return {"epochs": 2, "period": 2, "validation": toy.validated_on(scenes, "val")}


@pytest.fixture(scope="module")
def divided(scenes, frcnn, two_machines, tmp_path_factory):
    """The same on two machines, and on each the network on two devices; without validation."""
    folder = tmp_path_factory.mktemp("divided")
    here, there, ssh = two_machines
    flags = "--gpus", "4", "--num_processes", "2", "--hosts", f"{here}:1,{there}:1"
    path = {"PATH": f"{ssh}:{os.environ['PATH']}"}
    parts = "model_parallelism: 0.3 model_parallelism: 0.7"
    given = {"environment": path, "epochs": 2, "training": parts}
    return Ran(folder, *ended(frcnn(folder, scenes, *flags, **given)))


def test_two_processes_train_and_validate_as_one_program(two_processes):
    out, err = two_processes.out, two_processes.err
    results, log = two_processes.folder / "results", two_processes.folder / "log.txt"
    assert two_processes.code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("Network: toy")
    assert "2 processes: 4 images a step, 2 times the learning rate of one" in lines
    assert len(re.findall(r"^Epoch \d/2: 8/8 images", out, re.M)) == 2
    assert out.count("mAP@0.5 = ") == 1
    assert f"Final model: {results}/frcnn_toy.epoch_2.tlt" in lines
    assert err.splitlines() == [
        "TensorFlow sees no GPU: 2 processes on this machine's CPU, "
        f"{max(1, len(os.sched_getaffinity(0)) // 2)} "
        f"thread{'s' if len(os.sched_getaffinity(0)) > 3 else ''} each."
    ]
    assert sorted(log.read_text().splitlines()) == sorted([*lines, *err.splitlines()])
    assert [status for status, _ in statuses(results)] == [
        "STARTED",
        "RUNNING",
        "RUNNING",
        "SUCCESS",
    ]


def test_a_bad_image_of_one_process_is_told_once(tmp_path, frcnn):
    toy.write_scenes(tmp_path, "train", 8, seed=0)
    damaged = tmp_path / "images" / "train_5.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    # All images are in the first step, which so ends before it is built.
    given = {"epochs": 1, "batch_size": 4}
    out, err, code = ended(frcnn(tmp_path, tmp_path, "--gpus", "2", "--max-bad", "0", **given))
    assert code == 2, err
    assert (out + err).count(str(damaged)) == 1
    assert "Traceback" not in err and "Horovod" not in err and "ended, so" not in err
    assert str(damaged) in statuses(tmp_path / "results")[-1][1]


def test_a_killed_process_ends_the_training_which_goes_on_from_its_checkpoint(
    scenes, tmp_path, frcnn
):
    results = tmp_path / "results"
    process = frcnn(tmp_path, scenes, "--gpus", "2", epochs=500)
    _, second = trained(process, results, epoch=1)
    second.kill()
    start = time.monotonic()
    _, err, code = ended(process)
    assert time.monotonic() - start < 15
    assert code == 1
    message = "Process 1 of 2 (localhost) was killed by signal 9"
    assert err.count("Error: ") == 1 and f"Error: {message}" in err
    (saved,) = re.findall(r'resume_from_model: "(.*)"', err)
    status, told = statuses(results)[-1]
    assert status == "FAILURE" and message in told

    epoch = int(re.search(r"epoch_(\d+)\.tlt", saved)[1])
    given = {"epochs": epoch + 1, "training": f'resume_from_model: "{saved}"'}
    out, err, code = ended(frcnn(tmp_path, scenes, "--gpus", "2", **given))
    assert code == 0, err
    assert f"Final model: {results}/frcnn_toy.epoch_{epoch + 1}.tlt" in out


def test_sigterm_to_the_command_saves_and_says_how_to_go_on(scenes, tmp_path, frcnn):
    results = tmp_path / "results"
    process = frcnn(tmp_path, scenes, "--gpus", "2", epochs=500)
    trained(process, results, epoch=1)
    process.send_signal(signal.SIGTERM)
    out, err, code = ended(process)
    assert code == 130, err
    (saved,) = re.findall(r"^Saved (\S+step_\d\.tlt)\.$", out, re.M)
    assert Path(saved).exists()
    assert f'resume_from_model: "{saved}"' in out
    assert statuses(results)[-1] == ("FAILURE", "training was interrupted.")


def test_horovodrun_trains_to_the_same_weights(scenes, tmp_path, frcnn, two_processes):
    before = *HOROVODRUN, "-np", "2", "--gloo"
    # As many as the processes take that frcnn starts itself.
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    process = frcnn(tmp_path, scenes, "--threads", str(threads), before=before, **validated(scenes))
    same = Ran(tmp_path, *ended(process))
    for ran in (two_processes, same):
        assert ran.code == 0, ran.err
        assert len(re.findall(r"^(\[0\]<stdout>:)?Final model", ran.out, re.M)) == 1
    assert two_processes.checkpoint.read_bytes() == same.checkpoint.read_bytes()


def test_processes_may_each_divide_their_network_over_devices(divided):
    assert divided.code == 0, divided.err
    assert "the network on 2 logical devices of it" in divided.err
    assert f"Final model: {divided.checkpoint}" in divided.out


def test_processes_that_have_two_devices_each_train_as_those_with_one(two_processes, divided):
    assert two_processes.code == 0, two_processes.err[-3000:]
    assert divided.code == 0, divided.err[-3000:]
    expected, found = (archive.read(ran.checkpoint, "").weights for ran in (two_processes, divided))
    assert largest_gap(expected, found) < 1e-6


# Two machines ---------------------------------------------------------------------------------

NAMESPACE = f"frcnn-test-{os.getpid()}"
HERE, THERE = "10.213.77.1", "10.213.77.2"


def ip(*words, **given):
    return subprocess.run(["ip", *words], capture_output=True, text=True, **given)


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory):
    """Addresses of this machine and of another one, and a folder whose ``ssh`` leads there.

    The other machine is a network namespace behind a cable of its own, or where that is not
    allowed another loopback address.
    """
    joined = _connected()
    here, there = (HERE, THERE) if joined else ("127.0.0.1", "127.0.0.2")
    if not joined and not sys.platform.startswith("linux"):
        pytest.skip("Neither network namespaces nor a second loopback address work here.")
    folder = tmp_path_factory.mktemp("bin")
    ssh = folder / "ssh"
    inside = f"ip netns exec {NAMESPACE}" if joined else ""
    ssh.write_text(
        f'#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done\necho "$1" >> {folder}/reached\n'
        f'shift\nunset PYTHONPATH\nexec {inside} /bin/sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    yield here, there, folder
    if joined:
        ip("netns", "delete", NAMESPACE, check=True)  # and with it both ends of the cable


def _connected() -> bool:
    """Whether a namespace could be made and joined to this one."""
    if not shutil.which("ip") or ip("netns", "add", NAMESPACE).returncode:
        return False
    near, far = f"fr{os.getpid()}a", f"fr{os.getpid()}b"
    inside = ("-n", NAMESPACE)
    steps = (
        ("link", "add", near, "type", "veth", "peer", "name", far, "netns", NAMESPACE),
        ("address", "add", f"{HERE}/30", "dev", near),
        (*inside, "address", "add", f"{THERE}/30", "dev", far),
        ("link", "set", near, "up"),
        (*inside, "link", "set", far, "up"),
        (*inside, "link", "set", "lo", "up"),
    )
    if all(ip(*step).returncode == 0 for step in steps):
        return True
    ip("netns", "delete", NAMESPACE)
    return False


def test_two_machines_train_together(divided, two_machines):
    _, there, ssh = two_machines
    assert divided.code == 0, divided.err
    assert "2 processes: 4 images a step, 2 times the learning rate of one" in divided.out
    assert "8/8 images" in divided.out
    assert (ssh / "reached").read_text().split() == [there]
    assert statuses(divided.folder / "results")[-1][0] == "SUCCESS"
