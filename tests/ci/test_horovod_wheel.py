"""`.ci/horovod`: which wheel an environment needs, and how it comes into the cache.

Nothing here compiles, or installs into the environment of the tests.
"""

import dataclasses
import os
import subprocess
import sys
import threading
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "horovod"


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    loader = SourceFileLoader("horovod_script", str(SCRIPT))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    yield module
    del sys.modules[loader.name]


@pytest.fixture
def target(script):
    return script.Target("0.28.1", "2.21.0", "cp311", "linux-x86_64-glibc2.36")


@pytest.fixture
def wheel(script, target, tmp_path):
    return script.wheel_path(tmp_path / "cache", target)


def test_the_key_names_all_that_a_wheel_is_built_for(target):
    assert target.key == ("horovod-0.28.1.2-tensorflow-2.21.0-cp311-linux-x86_64-glibc2.36-gloo")


@pytest.mark.parametrize(
    "changed",
    [
        {"horovod": "0.28.2"},
        {"tensorflow": "2.21.1"},
        {"python": "cp312"},
        {"platform": "linux-x86_64-glibc2.41"},
        {"platform": "linux-aarch64-glibc2.36"},
        {"mpi": True},
        {"nccl": True},
    ],
    ids=str,
)
def test_another_version_platform_or_feature_needs_another_wheel(
    script, target, wheel, tmp_path, changed
):
    other = dataclasses.replace(target, **changed)
    assert other.key != target.key
    assert script.wheel_path(tmp_path / "cache", other).parent != wheel.parent


def test_this_environment_is_known_by_its_versions(script):
    import tensorflow as tf

    here = script.this_environment({})
    assert (here.tensorflow, here.python) == (
        tf.__version__,
        f"cp{sys.version_info.major}{sys.version_info.minor}",
    )


def test_gloo_is_always_built_and_the_rest_where_it_can_be(target):
    plain = target.build_settings
    assert plain["HOROVOD_WITH_GLOO"] == plain["HOROVOD_WITHOUT_MPI"] == "1"
    assert "HOROVOD_GPU_OPERATIONS" not in plain
    full = dataclasses.replace(target, mpi=True, nccl=True).build_settings
    assert full["HOROVOD_WITH_GLOO"] == full["HOROVOD_WITH_MPI"] == "1"
    assert full["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert "HOROVOD_WITHOUT_MPI" not in full


def test_what_the_user_says_of_features_gives_way_to_the_key(script):
    given = {"HOROVOD_WITH_PYTORCH": "1", "HOROVOD_GPU_OPERATIONS": "MPI"}
    where = {"HOROVOD_NCCL_HOME": "/opt/nccl", "PATH": "/bin"}
    assert script.without_horovod_settings(given | where) == where


def test_nccl_needs_a_cuda_compiler_and_a_header(script, tmp_path):
    cuda, nccl = tmp_path / "cuda", tmp_path / "nccl"
    given = {"CUDA_HOME": str(cuda), "HOROVOD_NCCL_HOME": str(nccl)}
    nccl.joinpath("include").mkdir(parents=True)
    nccl.joinpath("include", "nccl.h").touch()
    if not script.shutil.which("nvcc"):
        assert not script.has_nccl(given)
    cuda.joinpath("bin").mkdir(parents=True)
    cuda.joinpath("bin", "nvcc").touch()
    assert script.has_nccl(given)


# The cache ------------------------------------------------------------------------------------


def test_a_wheel_in_the_cache_is_taken_without_a_build(script, wheel):
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"built before")
    script.ensure_wheel(wheel, lambda folder: pytest.fail("it was built"))
    assert wheel.read_bytes() == b"built before"


def test_a_wheel_that_is_not_there_is_built_into_the_cache(script, wheel):
    def build(folder):
        folder.joinpath("new.whl").write_bytes(b"new")
        return folder / "new.whl"

    script.ensure_wheel(wheel, build)
    assert [path.read_bytes() for path in wheel.parent.iterdir()] == [b"new"]


def test_a_build_that_fails_leaves_no_wheel(script, wheel):
    def build(folder):
        folder.joinpath("half.whl").write_bytes(b"half of i")
        raise script.HorovodError("no space left")

    with pytest.raises(script.HorovodError, match="no space left"):
        script.ensure_wheel(wheel, build)
    assert not wheel.parent.exists()


def test_a_copy_that_fails_leaves_no_wheel(script, wheel):
    # The build says where its wheel is, and there is none.
    with pytest.raises(script.FrcnnError):
        script.ensure_wheel(wheel, lambda folder: folder / "none.whl")
    assert list(wheel.parent.iterdir()) == []


def test_of_two_at_once_one_builds_and_the_other_waits(script, wheel, capsys):
    building, go_on = threading.Event(), threading.Event()
    builds = []

    def build(folder):
        builds.append(folder)
        building.set()
        assert go_on.wait(10)
        folder.joinpath("new.whl").write_bytes(b"new")
        return folder / "new.whl"

    def run():
        with script.one_at_a_time(wheel.parent.parent / ".lock"):
            script.ensure_wheel(wheel, build)

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert building.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(builds) == 1
    assert "waiting for it" in capsys.readouterr().out


# What is installed ----------------------------------------------------------------------------


@pytest.fixture
def environment(script, monkeypatch):
    """An environment that only these tests see: what pip was asked for, and what is there."""

    class Environment:
        where = None
        can_load = True

        def pip(self, *arguments, **given):
            if arguments[-1].endswith(".whl"):
                self.where = Path(arguments[-1]).as_uri()

    found = Environment()
    monkeypatch.setattr(script, "pip", found.pip)
    monkeypatch.setattr(script, "installed_from", lambda: found.where)
    monkeypatch.setattr(script, "loads", lambda: found.can_load)
    return found


def test_one_for_another_tensorflow_gives_way(script, target, wheel, tmp_path, environment):
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    before = dataclasses.replace(target, tensorflow="2.20.0")
    environment.where = script.wheel_path(tmp_path / "cache", before).as_uri()
    script.provide(wheel, target)
    assert environment.where == wheel.as_uri()


def test_a_wheel_that_does_not_load_is_an_error_that_says_what_to_remove(
    script, target, wheel, environment
):
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    environment.can_load = False
    with pytest.raises(script.HorovodError) as error:
        script.provide(wheel, target)
    assert f"If you remove {wheel.parent}, it is built anew." in str(error.value)


# The source -----------------------------------------------------------------------------------

LISTING = """\
list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/mpi_ops.cc")
list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")
set_output_dir()
"""


def test_the_file_that_does_not_compile_is_left_out(script, tmp_path):
    listing = tmp_path / "horovod" / "tensorflow" / "CMakeLists.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text(LISTING)
    script.without_xla_operations(tmp_path)
    first, _, last = LISTING.splitlines(keepends=True)
    assert listing.read_text() == first + last
    with pytest.raises(script.HorovodError, match="not the one known"):
        script.without_xla_operations(tmp_path)


CONTEXT = """\
void GlooContext::Initialize() {
  device_attr.iface = gloo_iface_;
}
void GlooContext::InitializeForProcessSet(const GlooContext& global_context) {
  device_attr.iface = gloo_iface_;
}
"""


def test_process_sets_take_the_interface_that_is_named(script, tmp_path):
    context = tmp_path / "horovod" / "common" / "gloo" / "gloo_context.cc"
    context.parent.mkdir(parents=True)
    context.write_text(CONTEXT)
    script.with_one_interface(tmp_path)
    before, after = CONTEXT.splitlines(), context.read_text().splitlines()
    changed = [number for number, line in enumerate(after) if line != before[number]]
    assert changed == [4]
    assert after[4] == "  device_attr.iface = global_context.gloo_iface_;"
    with pytest.raises(script.HorovodError, match="not the one known"):
        script.with_one_interface(tmp_path)


# As a user runs it ----------------------------------------------------------------------------


def metadata(folder: Path, name: str, number: str, files: dict[str, str]) -> None:
    """Make a folder on the import path say that something is installed."""
    info = folder / f"{name}-{number}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
    )
    for file, text in files.items():
        info.joinpath(file).write_text(text)


def run_script(path: Path, cache: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run it where what is in ``path`` is found before all that is really installed."""
    environment = {"PYTHONPATH": str(path), "XDG_CACHE_HOME": str(cache), **environment}
    return subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_one_that_was_installed_from_the_cache_stays(script, tmp_path):
    wheel = script.wheel_path(tmp_path / "frcnn" / "wheels", script.this_environment())
    site = tmp_path / "site"
    metadata(site, "horovod", "0.28.1", {"direct_url.json": f'{{"url": "{wheel.as_uri()}"}}'})
    done = run_script(site, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Horovod 0.28.1 ({script.this_environment().features}) is installed.\n"


def test_one_that_somebody_built_otherwise_and_that_loads_stays(tmp_path):
    site = tmp_path / "site"
    metadata(site, "horovod", "0.27.0", {})
    site.joinpath("horovod").mkdir()
    for name in ("__init__.py", "tensorflow.py"):
        site.joinpath("horovod", name).touch()
    done = run_script(site, tmp_path)
    assert done.returncode == 0
    assert "0.27.0 is installed from elsewhere; it stays" in done.stdout


def test_without_a_compiler_it_says_what_to_install(script, target, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(script.HorovodError, match=r"sudo apt-get install g\+\+ make"):
        script.build(target, tmp_path, tmp_path / "log")


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("a file")
    done = run_script(tmp_path, cache)
    assert done.returncode == 1
    assert "XDG_CACHE_HOME may name another folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_failed_build_shows_its_first_errors_and_its_end(script, tmp_path):
    package = tmp_path / "broken"
    package.mkdir()
    lines = ["x.cc:1: error: no such header", *["noise"] * 100, "the end"]
    package.joinpath("setup.py").write_text(
        "import sys\n" + "".join(f"print({line!r})\n" for line in lines) + "sys.exit(1)\n"
    )
    log = tmp_path / "build.log"
    with pytest.raises(script.HorovodError) as error:
        script.pip(
            *("wheel", "--no-index", "--use-pep517", "--no-build-isolation", "--no-deps"),
            *("--wheel-dir", str(tmp_path), str(package)),
            log=log,
        )
    shown = str(error.value).splitlines()
    assert len(shown) < 40
    assert any("no such header" in line for line in shown)
    assert shown[-1] == f"All of it: {log}"
    assert log.read_text().count("noise") >= 100


def test_a_wheel_that_pip_made_is_found_under_the_name_in_the_cache(script, tmp_path):
    """The name that the cache expects is pip's for a package with compiled code."""
    target = dataclasses.replace(script.this_environment({}), horovod="0.28.1")
    name = script.wheel_path(tmp_path, target).name
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    project, number, _, tags = parse_wheel_filename(name)
    assert (project, str(number)) == ("horovod", "0.28.1")
    assert tags & set(sys_tags())


@pytest.mark.slow
def test_the_script_is_executable():
    assert os.access(SCRIPT, os.X_OK)
