"""Writes the first version of a plugin: a package that is complete and passes its own tests."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from frcnn_core.errors import FrcnnError
from frcnn_core.files import write_whole
from frcnn_core.plugin import API_VERSION

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def module_of(name: str) -> str:
    """The module of the backbone ``name``.

    Raises:
        FrcnnError: it is no name for one.
    """
    if not _NAME.fullmatch(name):
        raise FrcnnError(
            f"{name!r} is no name for a backbone: small letters, digits and single underscores, "
            "a letter first, e.g. tinynet or my_net."
        )
    return f"frcnn_{name}"


def write_backbone(name: str, folder: Path) -> list[Path]:
    """Write the package of a new backbone, and return its files.

    Args:
        name: what specs will call it, e.g. ``tinynet``.
        folder: is made, or is empty.

    Raises:
        FrcnnError: it is no name for a backbone, or the folder is not empty.
    """
    package = backbone_package(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FrcnnError(f"{folder} is not empty. Name a folder that is, or that does not exist.")
    for file, text in package.items():
        write_whole(folder / file, text)
    return [folder / file for file in package]


def backbone_package(name: str) -> dict[str, str]:
    """The text of each file of the package, by file name."""
    module = module_of(name)
    words = {
        "@NAME@": name,
        "@MODULE@": module,
        "@CLASS@": _class_name(name),
        "@DISTRIBUTION@": f"frcnn-backbone-{name.replace('_', '-')}",
        "@API@": f"v{API_VERSION}",
    }
    templates = {
        "pyproject.toml": "pyproject.txt",
        f"{module}.py": "module.txt",
        f"test_{name}.py": "test.txt",
        "README.md": "readme.txt",
    }
    package = {}
    for file, template in templates.items():
        text = files(__package__).joinpath("backbone", template).read_text()
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        package[file] = text
    return package


def _class_name(name: str) -> str:
    """``my_net`` is MyNet, and so is ``mynet``: a net at the end is a word of its own."""
    words = re.sub(r"(?<=[a-z0-9])net\b", "_net", name.replace("_", " ")).replace("_", " ")
    return "".join(word.capitalize() for word in words.split())
