import pytest

from frcnn_core import errors
from frcnn_core.plugin.components import Exporter
from frcnn_core.plugin.registry import Absent, Registered, Registry


class Engine(Exporter):
    requires = ("json", "tensorrt_that_is_not_there.runtime")

    def __init__(self, name: str):
        self.name = name

    def export(self, detector, output, options):
        return []


def registry(*names: str, absent=()) -> Registry:
    exporters = Registry("exporter", list(absent))
    for name in names:
        exporters.add(Registered(Engine(name), plugin=name, distribution="acme 1.0"))
    return exporters


def test_a_component_is_found_by_its_name():
    assert registry("onnx", "tensorrt").get("onnx").name == "onnx"


def test_components_are_listed_in_alphabetical_order():
    assert [entry.component.name for entry in registry("b", "c", "a")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "message",
    [
        "export: no exporter is called 'onx'.",
        "\n  Did you mean 'onnx'?",
        "\n  Installed: onnx, tensorrt.",
        "\n  Plugin 'uff' (uff 0.3) failed to load: No module named 'uff'",
    ],
)
def test_an_unknown_name_says_what_to_type_instead(message):
    broken = Absent("uff", "uff 0.3", "failed to load: No module named 'uff'")
    with pytest.raises(errors.UnknownComponentError) as caught:
        registry("onnx", "tensorrt", absent=[broken]).get("onx", where="export")
    assert message in str(caught.value)


def test_a_name_unlike_any_gets_no_suggestion():
    with pytest.raises(errors.UnknownComponentError) as caught:
        registry("onnx").get("caffe")
    assert str(caught.value) == "no exporter is called 'caffe'.\n  Installed: onnx."


def test_an_empty_registry_says_so():
    with pytest.raises(errors.UnknownComponentError, match="Installed: none"):
        registry().get("onnx")


def test_a_name_claimed_twice_lists_both_claims():
    exporters = registry("onnx")
    exporters.add(Registered(Engine("onnx"), plugin="bits", distribution="bits 2.0"))
    assert len(exporters.claims("onnx")) == 2
    with pytest.raises(
        errors.PluginError,
        match=r"The exporter 'onnx' is provided by 'onnx' \(acme 1.0\) and 'bits' \(bits 2.0\). "
        "Uninstall one, or hide it with FRCNN_DISABLE_PLUGINS.",
    ):
        exporters.get("onnx")


def test_missing_requirements_are_told_without_importing_them():
    assert registry("onnx").entry("onnx").missing == ("tensorrt_that_is_not_there.runtime",)


@pytest.mark.slow
def test_what_is_missing_is_named_with_what_to_type():
    with pytest.raises(
        errors.PluginError,
        match=r"^onnx needs tensorrt_that_is_not_there\.runtime: "
        r"pip install tensorrt_that_is_not_there$",
    ):
        registry("onnx").entry("onnx").require()
    ours = Registered(Engine("onnx"), plugin="onnx", distribution="frcnn 0.1")
    with pytest.raises(errors.PluginError, match=r"pip install 'frcnn\[onnx\]'$"):
        ours.require()
