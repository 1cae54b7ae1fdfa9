import tomllib
from pathlib import Path

import pytest

from frcnn_core.errors import FrcnnError
from frcnn_core.scaffold import backbone_package, write_backbone

ROOT = Path(__file__).parents[1]
TINYNET = ROOT / "examples" / "frcnn-backbone-tinynet"


def test_the_example_is_what_is_written_for_tinynet():
    ignored = {"__pycache__", "build", ".pytest_cache"}
    files = {
        path.name: path.read_text()
        for path in TINYNET.iterdir()
        if path.name not in ignored and path.suffix != ".egg-info"
    }
    assert files == backbone_package("tinynet")


@pytest.mark.parametrize(
    "name, distribution, module, class_name",
    [
        ("vgg", "frcnn-backbone-vgg", "frcnn_vgg", "Vgg"),
        ("my_net", "frcnn-backbone-my-net", "frcnn_my_net", "MyNet"),
        ("darknet53", "frcnn-backbone-darknet53", "frcnn_darknet53", "Darknet53"),
        ("hrnet_w18", "frcnn-backbone-hrnet-w18", "frcnn_hrnet_w18", "HrNetW18"),
        ("net", "frcnn-backbone-net", "frcnn_net", "Net"),
    ],
)
def test_all_names_follow_from_one(name, distribution, module, class_name):
    package = backbone_package(name)
    assert package.keys() == {"pyproject.toml", f"{module}.py", f"test_{name}.py", "README.md"}
    assert f'name = "{distribution}"' in package["pyproject.toml"]
    assert f'{name} = "{module}"' in package["pyproject.toml"]
    assert f'class {class_name}(Backbone):\n    name = "{name}"' in package[f"{module}.py"]
    assert f"from {module} import {class_name}\n" in package[f"test_{name}.py"]
    assert not any("@" in text.replace("@hookimpl", "") for text in package.values())


@pytest.mark.parametrize(
    "name", ["", "TinyNet", "tiny-net", "3net", "_net", "net_", "tiny__net", "tiny net", "../net"]
)
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(FrcnnError, match="is no name for a backbone"):
        write_backbone(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_templates_are_installed_with_frcnn():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]["frcnn_core"]
    core = ROOT / "frcnn_core"
    installed = {path for pattern in globs for path in core.glob(pattern)}
    templates = set(core.joinpath("scaffold", "backbone").iterdir())
    assert len(templates) == 4 and templates <= installed


def test_a_folder_is_made_where_there_is_none(tmp_path):
    folder = tmp_path / "some" / "where"
    written = write_backbone("tinynet", folder)
    assert sorted(written) == sorted(folder.iterdir())


def test_an_empty_folder_will_do(tmp_path):
    assert len(write_backbone("tinynet", tmp_path)) == 4


@pytest.mark.parametrize("there", ["README.md", "notes.txt", ".git"])
def test_a_folder_with_anything_in_it_is_left_alone(tmp_path, there):
    tmp_path.joinpath(there).write_text("mine")
    with pytest.raises(FrcnnError, match="is not empty"):
        write_backbone("tinynet", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_is_no_folder(tmp_path):
    tmp_path.joinpath("net").write_text("mine")
    with pytest.raises(FrcnnError, match="is not empty"):
        write_backbone("tinynet", tmp_path / "net")
