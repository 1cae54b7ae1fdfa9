import json
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from frcnn_core.cli import main

HEAVY = {"tensorflow", "keras", "numpy", "google.protobuf", "rich"}

NETWORK = """
from frcnn_core import Backbone, hookimpl

class Network(Backbone):
    name = "net"
    summary = "for tests"
    variants = ("s", "l")
    requires = ("timm_that_is_not_there",)

    def features(self, images, blocks):
        return images

    def head(self, rois, blocks):
        return rois

@hookimpl
def frcnn_register_backbones():
    return [Network()]
"""


def plugins(site, *words, **environment) -> str:
    run = site.run(
        "-c", "from frcnn_core.cli import main; main()", "plugins", *words, **environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def line_of(name: str, listing: str) -> list[str]:
    """The words of the line about ``name``, with single spaces."""
    (line,) = [line for line in listing.splitlines() if f" {name}" in line]
    return line.split()


def test_a_component_is_listed_with_variants_distribution_summary_and_what_it_lacks(site):
    site.install("acme-net 1.2", "acme", NETWORK)
    assert line_of("net:", plugins(site)) == [
        "backbone",
        "net:s,l",
        "acme-net",
        "1.2",
        *"for tests [needs timm_that_is_not_there]".split(),
    ]


def test_a_broken_plugin_is_listed_with_its_reason_and_the_others_as_ever(site):
    site.install("acme-net 1.2", "acme", "import timm_that_is_not_there")
    listing = plugins(site)
    assert (
        "broken: Plugin 'acme' (acme-net 1.2) failed to load: "
        "No module named 'timm_that_is_not_there'" in listing
    )
    assert line_of("soft_start", listing)[:2] == ["LR", "schedule"]


def test_a_clash_is_listed_for_both(site):
    site.install("acme 1.0", "acme", NETWORK)
    site.install("bits 2.0", "bits", NETWORK)
    listing = plugins(site)
    assert "[clashes with bits 2.0]" in listing and "[clashes with acme 1.0]" in listing


def test_a_hidden_plugin_is_listed_as_hidden(site):
    site.install("acme 1.0", "acme", NETWORK)
    listing = plugins(site, FRCNN_DISABLE_PLUGINS="acme")
    assert "hidden: Plugin 'acme' (acme 1.0) is hidden by FRCNN_DISABLE_PLUGINS." in listing
    assert "net:s,l" not in listing


@pytest.mark.parametrize("kind", ["backbone", "lr_schedule", "optimizer", "metric", "exporter"])
def test_one_kind_can_be_listed_alone(kind):
    listing = CliRunner().invoke(main, ["plugins", "--kind", kind, "--json"]).stdout
    kinds = {component["kind"] for component in json.loads(listing)["components"]}
    assert {kind.lower().replace(" ", "_") for kind in kinds} == {kind}


def test_json_has_all_that_the_table_has(site):
    site.install("acme-net 1.2", "acme", NETWORK)
    site.install("bits 2.0", "bits", "import timm_that_is_not_there")
    found = json.loads(plugins(site, "--json"))
    assert {
        "kind": "backbone",
        "name": "net",
        "variants": ["s", "l"],
        "plugin": "acme",
        "distribution": "acme-net 1.2",
        "summary": "for tests",
        "missing": ["timm_that_is_not_there"],
        "clashes_with": [],
    } in found["components"]
    assert found["broken"] == [
        {
            "plugin": "bits",
            "distribution": "bits 2.0",
            "reason": "failed to load: No module named 'timm_that_is_not_there'",
        }
    ]


@pytest.mark.parametrize("words", [["--help"], ["plugins"], ["train", "--help"]])
def test_listing_imports_nothing_heavy(words):
    code = (
        "import sys; from frcnn_core.cli import main; main(sys.argv[1:], standalone_mode=False);"
        f"sys.exit(' '.join({HEAVY} & set(sys.modules)) or None)"
    )
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert run.stderr == ""


@pytest.mark.parametrize("words", [["--help"], ["plugins"]])
def test_listing_takes_under_0_3_seconds(words):
    """The best of up to twenty tries, so that a busy machine does not fail it."""

    def seconds() -> float:
        start = time.perf_counter()
        code = "from frcnn_core.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
        return time.perf_counter() - start

    assert any(seconds() < 0.3 for _ in range(20))
