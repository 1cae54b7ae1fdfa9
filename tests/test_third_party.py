"""A third party's day, from a folder to a component that specs can name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINYNET = Path(__file__).parents[1] / "examples" / "frcnn-backbone-tinynet"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that pip installed tinynet into."""
    # pip builds in the source tree, so it gets a copy.
    source = tmp_path_factory.mktemp("source") / TINYNET.name
    shutil.copytree(
        TINYNET, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", target, source]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@pytest.fixture
def run(installed, site):
    """Run Python with tinynet installed, and return what it prints."""
    site.folder = installed

    def run(*command: str, **environment: str) -> str:
        result = site.run(*command, **environment)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_pip_installs_it_and_frcnn_plugins_lists_it(run):
    listing = run("-c", "from frcnn_core.cli import main; main()", "plugins")
    (line,) = [line for line in listing.splitlines() if "tinynet" in line]
    assert line.split() == [
        *"backbone tinynet frcnn-backbone-tinynet 1.0".split(),
        *"four convolutions, for tests and tutorials".split(),
    ]


def test_an_arch_names_it(run):
    code = (
        "from frcnn_core.arch import resolve; from frcnn_core.plugins import installed;"
        "print(resolve('tinynet', installed().backbones))"
    )
    assert "frcnn_tinynet.TinyNet object" in run("-c", code)


def test_hiding_it_leaves_an_error_that_says_so(run):
    code = """
from frcnn_core.arch import resolve
from frcnn_core.errors import UnknownComponentError
from frcnn_core.plugins import installed
try:
    resolve("tinynet", installed().backbones)
except UnknownComponentError as error:
    print(error)
"""
    message = run("-c", code, FRCNN_DISABLE_PLUGINS="tinynet")
    assert message.startswith("model_config.arch: no backbone is called 'tinynet'.\n")
    assert (
        "Plugin 'tinynet' (frcnn-backbone-tinynet 1.0) is hidden by FRCNN_DISABLE_PLUGINS."
        in message
    )
