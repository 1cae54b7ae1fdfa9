"""A third party's day, from a folder to a component that specs can name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main

pytestmark = pytest.mark.slow

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
        "from frcnn_core.plugin import installed, resolve;"
        "print(resolve('tinynet', installed().backbones))"
    )
    assert "frcnn_tinynet.TinyNet object" in run("-c", code)


def test_hiding_it_leaves_an_error_that_says_so(run):
    code = """
from frcnn_core.plugin.arch import resolve
from frcnn_core.errors import UnknownComponentError
from frcnn_core.plugin.discovery import installed
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


def test_frcnn_plugins_check_finds_nothing_wrong_with_it(run):
    report = run("-c", "from frcnn_core.cli import main; main()", "plugins", "check", "tinynet")
    *checks, last = [line for line in report.splitlines() if line.startswith(("  ", "tinynet:"))]
    assert report.startswith("backbone tinynet, from frcnn-backbone-tinynet 1.0\n")
    assert last == f"tinynet: {len(checks)} checks: {len(checks)} ok."


def test_a_new_backbone_passes_its_own_tests_at_once(site, tmp_path):
    folder = tmp_path / "new"
    words = ["plugins", "new", "backbone", "my_net", str(folder)]
    assert CliRunner().invoke(main, words).exit_code == 0
    written = sorted(path.name for path in folder.iterdir())
    flags = ["-q", "-p", "no:cacheprovider"]
    alone = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""}
    tests = site.run("-m", "pytest", *flags, folder, **alone)
    assert tests.returncode == 0, tests.stdout
    assert tests.stdout.splitlines()[-1].split()[1] == "passed"
    assert sorted(path.name for path in folder.iterdir()) == written


SAVE_AND_OPEN = """
import sys
from pathlib import Path
from frcnn_core import assemble
from frcnn_core.model_files import archive
from frcnn_core.errors import FrcnnError
from frcnn_core.plugin.discovery import Plugins, installed
from frcnn_core.spec.load import loads
spec = loads('''
    random_seed: 1
    dataset_config { target_class_mapping { key: "car" value: "car" } }
    model_config {
        arch: "tinynet"
        input_image_config { size_height_width { height: 64 width: 64 } }
    }
''', "spec.txt")
path = Path(sys.argv[1])
archive.write(path, assemble.new_model(spec, installed()).to_archive())
try:
    assemble.open_model(path, "", Plugins([]))
except FrcnnError as error:
    print(error)
"""


def test_a_model_made_with_it_says_what_to_install_where_it_is_missing(run, tmp_path):
    path = tmp_path / "model.tlt"
    assert run("-c", SAVE_AND_OPEN, str(path)) == (
        f"{path} was made with the backbone 'tinynet' of frcnn-backbone-tinynet 1.0, which is not "
        "installed.\n  pip install 'frcnn-backbone-tinynet==1.0'\n"
    )
