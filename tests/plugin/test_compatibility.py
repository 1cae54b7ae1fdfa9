"""Plugins for another frcnn are told apart before anything of them is imported."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from frcnn_core.plugin import compatibility
from frcnn_core.plugin.hookspecs import API_GROUP, API_VERSION

ROOT = Path(__file__).parents[2]
IMPORTED = "raise AssertionError('it was imported')"
FRCNN = version("frcnn")


def reason(site, **declared) -> str:
    """Why the plugin of a distribution that declares this is left out."""
    site.install("acme-net 1.2", "acme", IMPORTED, **declared)
    (plugin,) = site.plugins().broken
    return str(plugin)


def test_a_plugin_for_a_newer_api_asks_for_a_newer_frcnn(site):
    assert reason(site, api="v2") == (
        f"Plugin 'acme' (acme-net 1.2) is for version 2 of the plugin API, and frcnn {FRCNN} has "
        "version 1: pip install --upgrade frcnn"
    )


@pytest.mark.parametrize("api", ["v1", ""])
def test_a_plugin_for_an_older_api_asks_for_a_newer_plugin(site, monkeypatch, api):
    """One that declares nothing is for version 1."""
    monkeypatch.setattr(compatibility, "API_VERSION", 2)
    assert reason(site, api=api) == (
        f"Plugin 'acme' (acme-net 1.2) is for version 1 of the plugin API, and frcnn {FRCNN} has "
        "version 2: pip install --upgrade acme-net"
    )


@pytest.mark.parametrize("api", ["v1", "1", ""])
def test_a_plugin_for_this_api_is_imported(site, api):
    assert "it was imported" in reason(site, api=api)


def test_a_version_that_is_none_is_told(site):
    assert "declares the plugin API 'first', which is no version" in reason(site, api="first")


@pytest.mark.parametrize(
    "requires, sentence",
    [
        ("frcnn>=99", f"needs frcnn>=99, and {FRCNN} is installed: pip install --upgrade frcnn"),
        ("frcnn~=99.0", "pip install --upgrade frcnn"),
        ("frcnn<0.0.1", "pip install --upgrade acme-net"),
        ("frcnn>=0.0.1,<0.0.2", "pip install --upgrade acme-net"),
    ],
)
def test_a_plugin_that_demands_another_frcnn_is_not_imported(site, requires, sentence):
    assert reason(site, requires=requires).endswith(sentence)


@pytest.mark.parametrize(
    "requires",
    [
        f"frcnn>={FRCNN}",
        "frcnn",
        "frcnn>=99 ; extra == 'gpu'",
        "frcnn>=99 ; python_version < '3'",
        "frcnn-backbone-other>=99",
        "numpy>=99",
    ],
)
def test_other_demands_do_not_matter(site, requires):
    assert "it was imported" in reason(site, requires=requires)


def test_a_demand_that_cannot_be_read_is_told(site):
    assert "failed to load: InvalidRequirement" in reason(site, requires="frcnn >< 1")


def test_what_a_plugin_needs_is_no_matter_of_pip_alone(site):
    """pip has its own opinion, and `--no-deps`; `frcnn plugins` says what will not work."""
    site.install("acme-net 1.2", "acme", IMPORTED, requires="frcnn>=99")
    run = site.run("-c", "from frcnn_core.cli import main; main()", "plugins")
    assert "broken: Plugin 'acme' (acme-net 1.2) needs frcnn>=99" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "examples/frcnn-backbone-tinynet"])
def test_our_own_distributions_declare_this_version(folder):
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][API_GROUP] == {"version": f"v{API_VERSION}"}
