import logging
from pathlib import Path

import pytest
import toy

from frcnn_core import assemble
from frcnn_core.assemble.provenance import backbone_of, extended, record
from frcnn_core.errors import UnknownComponentError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model, provenance_in
from frcnn_core.plugin.discovery import Plugins
from frcnn_core.spec.load import loads

NETWORK = """
from frcnn_core import Backbone, hookimpl

class Network(Backbone):
    name = "{name}"

    def features(self, images, blocks):
        return images

    def head(self, rois, blocks):
        return rois

@hookimpl
def frcnn_register_backbones():
    return [Network()]
"""
NET = NETWORK.format(name="net")

PATH = Path("m.tlt")
MADE = {
    "kind": "backbone",
    "name": "net",
    "plugin": "acme",
    "distribution": "acme-net",
    "version": "1.2",
}
SENTENCE = "m.tlt was made with the backbone 'net' of acme-net 1.2"


def why_not(plugins) -> str:
    """What is said to whoever opens a model of acme-net 1.2."""
    with pytest.raises(UnknownComponentError) as caught:
        backbone_of("net", (MADE,), plugins, PATH)
    return str(caught.value)


def test_a_component_is_recorded_with_all_that_is_needed_to_get_it_again(site):
    site.install("acme-net 1.2", "acme", NET)
    assert record(site.plugins(), [("backbone", "net")]) == (MADE,)


def test_a_component_of_no_distribution_is_recorded_without_one():
    (made,) = record(toy.plugins(), [("backbone", "toy")])
    assert (made["plugin"], made["distribution"], made["version"]) == ("toy", "", "")


def test_going_on_with_another_version_adds_it():
    newer = MADE | {"version": "1.3"}
    assert extended((MADE,), (MADE,)) == (MADE,)
    assert extended((MADE,), (newer, MADE)) == (MADE, newer)


def test_a_missing_plugin_is_told_with_the_line_that_installs_it():
    assert why_not(Plugins([])) == (
        f"{SENTENCE}, which is not installed.\n  pip install 'acme-net==1.2'"
    )


def test_a_broken_one_is_quoted(site):
    site.install("acme-net 1.2", "acme", "import timm_that_is_not_there")
    assert why_not(site.plugins()) == (
        f"{SENTENCE}.\n  Plugin 'acme' (acme-net 1.2) failed to load: "
        "No module named 'timm_that_is_not_there'"
    )


def test_a_hidden_one_is_quoted(site):
    site.install("acme-net 1.2", "acme", NET)
    assert why_not(site.plugins(hidden={"acme"})) == (
        f"{SENTENCE}.\n  Plugin 'acme' (acme-net 1.2) is hidden by FRCNN_DISABLE_PLUGINS."
    )


def test_a_version_without_that_backbone_is_told(site):
    site.install("acme-net 2.0", "acme", NETWORK.format(name="net2"))
    assert why_not(site.plugins()) == (
        f"{SENTENCE}; acme-net 2.0 has no such backbone.\n  pip install 'acme-net==1.2'"
    )


def test_what_others_are_broken_is_no_reason(site):
    site.install("bits 2.0", "bits", "import timm_that_is_not_there")
    assert "bits" not in why_not(site.plugins())


@pytest.mark.parametrize("distribution", ["acme-net 1.3", "bits 1.2"])
def test_another_version_or_distribution_is_a_warning(site, caplog, distribution):
    site.install(distribution, "acme", NET)
    assert backbone_of("net", (MADE,), site.plugins(), PATH).name == "net"
    assert caplog.messages == [f"{SENTENCE}; here it is of {distribution}."]
    assert caplog.records[0].levelno == logging.WARNING


def test_the_same_version_is_none(site, caplog):
    site.install("acme-net 1.2", "acme", NET)
    backbone_of("net", (MADE,), site.plugins(), PATH)
    assert caplog.messages == []


def test_another_version_of_frcnn_itself_is_none(site, caplog):
    site.install("frcnn 0.2", "net", NET)
    made = MADE | {"plugin": "net", "distribution": "frcnn", "version": "0.1"}
    assert backbone_of("net", (made,), site.plugins(), PATH).name == "net"
    assert caplog.messages == []


def test_the_version_that_trained_last_counts(site, caplog):
    site.install("acme-net 1.2", "acme", NET)
    backbone_of("net", (MADE | {"version": "1.1"}, MADE), site.plugins(), PATH)
    assert caplog.messages == []


@pytest.mark.parametrize("provenance", [(), (MADE | {"distribution": "", "version": ""},)])
def test_where_nothing_is_known_the_error_is_that_of_a_misspelt_spec(provenance):
    with pytest.raises(UnknownComponentError, match=r"m\.tlt: no backbone is called 'net'"):
        backbone_of("net", provenance, Plugins([]), PATH)


@pytest.mark.slow
def test_a_model_file_is_opened_by_what_it_records(tmp_path):
    model = toy.model()
    model.provenance = (MADE | {"name": "toy"},)
    path = tmp_path / "m.tlt"
    archive.write(path, model.to_archive())
    assert assemble.open_model(path, "", toy.plugins()).provenance == model.provenance
    with pytest.raises(UnknownComponentError, match=r"pip install 'acme-net==1\.2'"):
        assemble.open_model(path, "", Plugins([]))


@pytest.mark.parametrize(
    "stored, provenance",
    [
        ({"plugin": "acme", "distribution": "acme-net 1.2"}, ()),
        ({}, ()),
        ([MADE], (MADE,)),
    ],
)
def test_files_from_before_there_was_a_list_are_read(stored, provenance):
    assert provenance_in({"arch": "net:s", "provenance": stored}) == provenance


@pytest.mark.slow
def test_a_file_that_records_nothing_is_read():
    content = toy.model().to_archive()
    del content.manifest["provenance"]
    assert Model.from_archive(content).provenance == ()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    toy.write_scenes(folder, "train", 4, seed=1)
    toy.write_scenes(folder, "val", 2, seed=2)
    return folder


def recorded(folder, results, **given) -> list[tuple[str, str]]:
    """Kind and name of what a training's checkpoints record."""
    spec = loads(toy.spec_text(folder, **given), "spec.txt")
    made = assemble.training(spec, toy.plugins(), results_dir=results)
    return [(one["kind"], one["name"]) for one in made.trainer.model.provenance]


@pytest.mark.slow
def test_a_training_records_its_components(scenes, tmp_path):
    assert recorded(scenes, tmp_path) == [
        ("backbone", "toy"),
        ("optimizer", "adam"),
        ("lr_schedule", "soft_start"),
    ]


@pytest.mark.slow
def test_a_training_that_validates_records_its_metrics_too(scenes, tmp_path):
    validation = toy.validated_on(scenes, "val")
    found = recorded(scenes, tmp_path, validation=validation, optimizer='plugin { name: "adamw" }')
    assert found[1:] == [
        ("optimizer", "adamw"),
        ("lr_schedule", "soft_start"),
        ("metric", "voc12"),
    ]
